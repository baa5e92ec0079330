"""What convlast is measured against: each does no less than the contract demands."""

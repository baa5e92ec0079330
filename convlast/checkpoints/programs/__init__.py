"""Programs: TorchScript and exported programs, read without running them."""

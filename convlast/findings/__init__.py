"""What a report finds worth telling, of a conversion and of a smoke."""

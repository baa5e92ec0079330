"""What a service still answers while somebody attacks it."""

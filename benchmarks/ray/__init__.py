"""What a Ray cluster costs, and what it brings."""

"""What is told of the service: its log and its metrics."""

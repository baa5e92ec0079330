"""Checkpoints: what is in a file, without its data, and where the data lies."""

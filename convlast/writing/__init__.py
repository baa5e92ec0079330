"""Converted checkpoints: a module for each container that is written."""

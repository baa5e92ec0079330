"""Bytes: digests of what passes by, and memory that is given back."""

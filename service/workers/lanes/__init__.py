"""Lanes: which devices there are, which job is next, and what it may use."""

"""Receiving the body of a request."""

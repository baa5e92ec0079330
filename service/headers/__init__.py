"""Parses header fields of requests, each bounded in length before it is parsed."""

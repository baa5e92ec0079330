"""Connections, the middleware around the routes, and the responses that are streamed."""

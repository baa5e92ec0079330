"""What each connection and each request passes before and after the routes."""

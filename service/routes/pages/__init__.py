"""The page at `/`: files are dropped on it, and reports are read there."""

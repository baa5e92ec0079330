"""What lies on disk: running jobs, finished ones for a while, and the room they may take."""

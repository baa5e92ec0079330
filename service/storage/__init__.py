"""Running jobs and finished ones on disk, and how much space they may take."""

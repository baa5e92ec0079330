"""The place of a job in a trace."""

"""Who may call, and how many requests at once."""

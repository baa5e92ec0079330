"""Two reports side by side, as a page: what changed, and how much did not."""

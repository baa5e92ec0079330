"""A body on its way in."""

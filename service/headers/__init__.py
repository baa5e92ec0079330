"""The fields of a request's head: what they say, bounded before it is read."""

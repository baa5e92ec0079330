"""What a checkpoint may contain: its directory and its pickles are checked before it is loaded."""

"""What a checkpoint may hold: its directory and its pickles, judged before anything is loaded."""

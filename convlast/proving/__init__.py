"""The proof that an artifact is the checkpoint in another layout, and what else is compared."""

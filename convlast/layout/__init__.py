"""The memory format of tensors, and the pieces in which it is changed."""

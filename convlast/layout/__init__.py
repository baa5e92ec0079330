"""The memory format of tensors, and changing it piece by piece."""

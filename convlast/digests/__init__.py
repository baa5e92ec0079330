"""Digests of tensors that ignore their layout: docs/reference/tensor-digests.md defines them."""

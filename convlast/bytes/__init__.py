"""Bytes: digests of files, and returning freed memory."""

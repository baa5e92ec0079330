"""The answers to conversions."""

"""What an artifact was made of, and by what: a statement that anyone can check.

Nothing here imports torch; only `signing` imports `cryptography`, the extra `signing`.
"""

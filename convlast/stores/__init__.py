"""Objects in stores: read in ranges, written whole, created once. Knows no environment.

obstore reads credentials from the environment of the process by itself: see `docs/stores.md`.
"""

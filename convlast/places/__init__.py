"""Where files go that a user named, and where they are made before they are whole.

Nothing here imports torch: a report is written so too.
"""

"""Runs jobs: from their first attempt to their outcome, written down."""

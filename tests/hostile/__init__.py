"""Hostile and broken files: a module for each attack, named by what the file does.

Each has functions that return the file's bytes; nothing here is ever loaded without the guard.
"""

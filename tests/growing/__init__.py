"""Inputs that can be grown: programs, drawn by lot from the grammar of each reader."""

"""The report as people read it: in a terminal, and as a page. Nothing here imports torch."""

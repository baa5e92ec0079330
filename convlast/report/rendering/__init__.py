"""The report for people: in a terminal, a notebook, and as a page. Nothing here imports torch."""

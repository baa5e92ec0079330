"""The report for people: in a terminal, and as an HTML page. Nothing here imports torch."""

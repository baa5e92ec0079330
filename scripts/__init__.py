"""Programs for developing this project; none of them is shipped."""

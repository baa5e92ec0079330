"""The findings and the advice of a report, about the conversion and the smoke."""

from __future__ import annotations

from pathlib import Path

from scripts import tables
from service.problems import TABLE


def test_the_tables_of_the_readme_are_those_of_the_code() -> None:
    """Options, settings, errors and figures in the README are what the code and results say."""
    text = Path(tables.README).read_text()

    assert tables.filled(text) == text, "run make fix"


def test_every_error_code_is_in_the_readme() -> None:
    """A code of the closed table has a row that a reader can find."""
    text = Path(tables.README).read_text()

    assert all(f"`{code}`" in text for code in TABLE)

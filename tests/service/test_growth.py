"""No text of a client takes disproportionately long to parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.access.keyring import Keyring
from tests.growing.clients import READERS
from tests.growth import check_growth, shapes


@pytest.mark.parametrize("reader", READERS)
def test_no_text_takes_longer_than_it_is_long(reader: str) -> None:
    """The time of each parser grows no faster than its text."""
    read, pieces = READERS[reader]
    for shape in shapes(pieces):
        check_growth(read, shape)


def test_a_key_of_any_length_is_refused(tmp_path: Path) -> None:
    """A key of any length is hashed once and compared like any other."""
    (tmp_path / "keys").write_text("alice:a-key-of-alice-alone\n")
    keys = Keyring(tmp_path / "keys", anonymous_allowed=False)
    for shape in shapes(("Bearer ", "a", " ", "é")):
        check_growth(keys.owner, shape)

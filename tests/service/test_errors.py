from __future__ import annotations

import errno

import pytest

from convlast.errors import StorageFullError
from service.errors import full_disk_as_problem


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_problem(number: int) -> None:
    """A full disk becomes a `StorageFullError`."""
    with pytest.raises(StorageFullError), full_disk_as_problem():
        raise OSError(number, "no room")


def test_other_trouble_with_the_disk_stays_what_it_is() -> None:
    """Any other error of the disk is raised unchanged."""
    with pytest.raises(PermissionError), full_disk_as_problem():
        raise PermissionError(errno.EACCES, "not allowed")

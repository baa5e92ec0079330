from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from convlast.errors import StorageFullError
from service.storage.quota import Quota
from service.storage.workspace import JobFolder


def test_the_quota_is_bounded_and_given_back(tmp_path: Path) -> None:
    """A checkpoint counts twice, and bytes that are given back can be taken again."""
    quota = Quota(100)
    first, second = (JobFolder(tmp_path / name, quota) for name in ("first", "second"))
    first.take(30)
    first.take(10)
    with pytest.raises(StorageFullError, match="CONVLAST_WORK_BYTES"):
        second.take(11)
    assert quota.taken_bytes == 80
    first.remove()
    second.take(50)
    second.give_back()
    second.remove()
    assert quota.taken_bytes == 0


def test_the_quota_is_counted_across_threads() -> None:
    """No byte is lost if several threads take some at the same time."""
    quota = Quota(1 << 30)

    def fill() -> None:
        for _ in range(1000):
            quota.take(1)

    with ThreadPoolExecutor(8) as pool:
        for filling in [pool.submit(fill) for _ in range(8)]:
            filling.result()
    assert quota.taken_bytes == 16_000

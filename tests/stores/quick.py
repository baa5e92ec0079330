"""Options for tests: short patience, small parts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions

T = TypeVar("T")

MIB = 1 << 20
QUICK = StoreOptions(timeout_s=20, patience_s=20, part_bytes=5 * MIB, parallel=3)
"""Parts as small as S3 allows."""
SMALL = StoreOptions(timeout_s=20, patience_s=20, part_bytes=1000, parallel=3)
IMPATIENT = StoreOptions(timeout_s=5, patience_s=0.5, part_bytes=5 * MIB, parallel=3)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end."""
    return asyncio.run(asyncio.wait_for(work, 120))


def address_of(path: Path) -> Address:
    """Return the address of a file."""
    return Address.parse(path.as_uri())

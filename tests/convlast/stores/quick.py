"""What the tests of stores share: quick options, and a folder as a store."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions

T = TypeVar("T")

QUICK = StoreOptions(timeout_s=10, patience_s=10, part_bytes=5 << 20, parallel=3)
SMALL = StoreOptions(timeout_s=10, patience_s=10, part_bytes=1000, parallel=3)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end."""
    return asyncio.run(asyncio.wait_for(work, 120))


def address_of(path: Path) -> Address:
    """Return the address of a file."""
    return Address.parse(f"file://{quote(str(path))}")

"""Sizes in bytes, as people write and read them: `4G`, `4GB`, `4GiB`, `512M`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ByteSize, TypeAdapter

MAX_BYTES = 1 << 60
"""The largest size that can be asked for: 1 EiB."""

# ByteSize alone ignores what follows: it would read "4,000" as 4 bytes.
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?((?:[kmgtpe]i?)?b?)", re.IGNORECASE)
_EXAMPLES = "write a number of bytes, or a size such as 512M, 4GB (decimal) or 4GiB (binary)"
_BYTE_SIZE = TypeAdapter(ByteSize)


def parse(value: object) -> object:
    """Read a text as a number of bytes; another value stays as it is.

    Raises:
        ValueError: If a text is not a size.

    >>> parse("4G"), parse("4 GB"), parse("4GiB"), parse("1.5k"), parse("17")
    (4000000000, 4000000000, 4294967296, 1500, 17)
    """
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError(_EXAMPLES)
    number, unit = found.groups()
    whole = "B" if unit.lower().endswith("i") else ""  # Kubernetes writes 4Gi
    return int(_BYTE_SIZE.validate_python(number + unit + whole))


def _in_range(size: int) -> int:
    if not 0 < size <= MAX_BYTES:
        raise ValueError(_EXAMPLES)
    return size


Bytes = Annotated[int, BeforeValidator(parse), AfterValidator(_in_range)]
"""A positive number of bytes; a text may have a unit."""


def readable(size: int) -> str:
    """Return a size in the largest unit: an exact one if there is one, else rounded.

    >>> readable(16 << 30), readable(4_000_000_000), readable((16 << 30) + 1), readable(1)
    ('16 GiB', '4 GB', '16 GiB', '1 B')
    """
    binary, decimal = (
        ByteSize(size).human_readable(decimal=is_decimal, separator=" ").replace(".0 ", " ")
        for is_decimal in (False, True)
    )
    return decimal if parse(decimal) == size != parse(binary) else binary


def exact(size: int) -> str:
    """Return a size in bytes, and beside it in the unit that people read.

    >>> exact(16 << 30), exact(20)
    ('17,179,869,184 bytes (16 GiB)', '20 bytes')
    """
    return f"{size:,} bytes" + (f" ({readable(size)})" if size >= 1000 else "")

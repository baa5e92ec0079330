"""A process that puts or fetches one object, and says how much memory it took.

python -m tests.stores.transfers put|fetch FILE ADDRESS
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.reading import fetch
from convlast.stores.writing import put
from tests.stores.quick import QUICK


async def transfer(verb: str, path: Path, address: Address, options: StoreOptions) -> None:
    """Do it, and say how far it is."""

    def progress(_stage: str, done: int, _total: int) -> None:
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()

    if verb == "put":
        await put(path, address, options, progress=progress)
    else:
        await fetch(address, path, options, progress=progress)


def peak_bytes() -> int:
    """Return the most memory that this process has had; `getrusage` counts its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def main() -> None:
    """Do what the arguments say; the last line is the growth of the memory, in bytes."""
    verb, file, text = sys.argv[1:]
    before = peak_bytes()
    asyncio.run(transfer(verb, Path(file), Address.parse(text), replace(QUICK, parallel=4)))
    sys.stdout.write(f"{peak_bytes() - before}\n")


if __name__ == "__main__":
    main()

"""A conversion from store to store, against the same conversion on this machine.

    python -m benchmarks.stores --work FOLDER_ON_A_DISK
    python -m benchmarks.stores --megabytes 1024 --store s3://bucket/folder/

The store is a folder of this machine, or one whose endpoint and keys are in the environment. The
floor of the time is what nobody can do without: to download the checkpoint, and then to convert it
while the artifact is uploaded, as far as that can be: the longer one of the two. Each of these is
measured alone, in a process of its own. Prints one JSON object; exits with 1 if a limit was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.memory import Peak, make_checkpoint
from convlast.stores.address import Address
from convlast.stores.reading import fetch, listing
from convlast.stores.writing import put, remove

MAX_TIMES_FLOOR = 1.3
ALLOWED_ABOVE_LOCAL_MIB = 100


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--smoke", default="none", help="none, auto, layers or model")
    parser.add_argument("--store", help="an address of a folder; without it, a folder in WORK")
    parser.add_argument("--work", type=Path, help="a folder, with room for five such checkpoints")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asyncio.run(moved(*arguments.one))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        work = Path(folder)
        (work / "store").mkdir()
        store = Address.parse(arguments.store or f"{(work / 'store').as_uri()}/")
        make_checkpoint(work / "model.pt", arguments.megabytes)
        found = measure(work, store, arguments.smoke, arguments.repeats)
    result = {
        "benchmark": "stores",
        "store": store.scheme,
        "megabytes": arguments.megabytes,
        "smoke": arguments.smoke,
        **found,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def measure(work: Path, store: Address, smoke: str, repeats: int) -> dict[str, object]:
    """Convert here and from store to store in turn, and move the same bytes alone."""
    turns = [one_turn(work, store, smoke) for _ in range(repeats)]
    seconds = {name: [turn[name][0] for turn in turns] for name in turns[0]}
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    peaks_mib = {
        name: round(max(turn[name][1] for turn in turns), 1) for name in ("local", "stored")
    }
    floor_s = medians["download"] + max(medians["local"], medians["upload"])
    above_mib = round(peaks_mib["stored"] - peaks_mib["local"], 1)
    ratio = medians["stored"] / floor_s
    return {
        "seconds": {
            name: {"median": round(medians[name], 2), "all": [round(each, 2) for each in taken]}
            for name, taken in seconds.items()
        },
        "floor_s": round(floor_s, 2),
        "times_floor": round(ratio, 3),
        "one_after_the_other_s": round(sum(medians.values()) - medians["stored"], 2),
        "peak_anonymous_mib": peaks_mib,
        "peak_above_local_mib": above_mib,
        "passed": ratio <= MAX_TIMES_FLOOR and above_mib <= ALLOWED_ABOVE_LOCAL_MIB,
    }


def one_turn(work: Path, store: Address, smoke: str) -> dict[str, tuple[float, float]]:
    """Do each of it once; return its seconds, and its most anonymous memory in MiB."""
    model, made, copy = (work / name for name in ("model.pt", "made.pt", "copy.pt"))
    kept, source, target = (store.child(name) for name in ("kept.pt", "model.pt", "made/"))
    how = ["--smoke", smoke, "--device", "cpu", "--quiet"]
    convert = ["convlast", "convert"]
    found = {"local": run([*convert, str(model), "-o", str(made), *how])}
    found["upload"] = run(moving("put", made, kept))
    made.unlink()
    asyncio.run(remove(kept))
    asyncio.run(put(model, source))
    found["download"] = run(moving("fetch", copy, source))
    copy.unlink()
    found["stored"] = run([*convert, source.text, "-o", target.text, *how])
    asyncio.run(emptied(store))
    return found


def moving(verb: str, path: Path, address: Address) -> list[str]:
    """Return what moves one file in a process of its own."""
    return ["benchmarks.stores", "--one", verb, str(path), address.text]


async def moved(verb: str, path: str, address: str) -> None:
    """Move one file in this process."""
    if verb == "put":
        await put(Path(path), Address.parse(address))
    else:
        await fetch(Address.parse(address), Path(path))


async def emptied(store: Address) -> None:
    """Remove what was put into a store."""
    for each in await listing(store):
        await remove(each.address)


def run(command: list[str]) -> tuple[float, float]:
    """Run a module; return how long it took, and the most anonymous memory that it had, in MiB."""
    began_s = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL) as process:
        peak = Peak(process.pid)
        with peak:
            status = process.wait()
    taken_s = time.perf_counter() - began_s
    if status:
        sys.exit(f"{' '.join(command)} ended with {status}.")
    return taken_s, peak.mib


if __name__ == "__main__":
    main()

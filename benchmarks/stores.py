"""A conversion from store to store, against the same conversion on this machine.

    python -m benchmarks.stores --work FOLDER_ON_A_DISK
    python -m benchmarks.stores --seaweedfs --work FOLDER_ON_A_DISK
    python -m benchmarks.stores --megabytes 1024 --store s3://bucket/folder/

The store is a folder of this machine, a SeaweedFS that is started here (`make stores` installs it),
or one whose endpoint and keys are in the environment. The floor of the time is what nobody can do
without. Either that is to download the checkpoint, and then to convert it while the artifact is
uploaded: the longer one of the two. Or it is the time that all cores need for the work of these
three, that of a SeaweedFS included: on few cores, works side by side slow each other down. Each is
measured alone, in a process of its own. Prints one JSON object; exits with 1 if a limit was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.memory import Peak, make_checkpoint
from convlast.stores.address import Address
from convlast.stores.reading import fetch, listing
from convlast.stores.writing import put, remove
from tests.stores.seaweedfs import seaweedfs
from tests.stores.servers import BUCKET, CREDENTIALS

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
    parser.add_argument("--seaweedfs", action="store_true", help="start a store, with data in WORK")
    parser.add_argument("--work", type=Path, help="a folder, with room for five such checkpoints")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asyncio.run(moved(*arguments.one))))
        return
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.work)))
        store, server = arguments.store or f"{(work / 'store').as_uri()}/", None
        for name in ("store", "data"):
            (work / name).mkdir()
        if arguments.seaweedfs:
            weed = stack.enter_context(seaweedfs(work / "data"))
            os.environ.update({**CREDENTIALS, "AWS_ENDPOINT_URL": weed.endpoint})
            store, server = f"s3://{BUCKET}/stores/", weed.pid
        make_checkpoint(work / "model.pt", arguments.megabytes)
        place = Place(work, Address.parse(store), server)
        found = measure(place, arguments.smoke, arguments.repeats)
    result = {
        "benchmark": "stores",
        "store": place.store.scheme,
        "megabytes": arguments.megabytes,
        "smoke": arguments.smoke,
        **found,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


@dataclass(frozen=True)
class Place:
    """Where it happens.

    Attributes:
        work: A folder of this machine.
        store: A folder of the store.
        server: The process of the store, if it is known.
    """

    work: Path
    store: Address
    server: int | None


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: Time.
        mib: The most anonymous memory that it had.
        cpu_s: Time of cores, for the command and the store.
    """

    seconds: float
    mib: float
    cpu_s: float


def measure(place: Place, smoke: str, repeats: int) -> dict[str, object]:
    """Convert here and from store to store in turn, and move the same bytes alone."""
    turns = [one_turn(place, smoke) for _ in range(repeats)]
    names = list(turns[0])
    seconds = {name: [turn[name].seconds for turn in turns] for name in names}
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    cpu_s = {name: statistics.median(turn[name].cpu_s for turn in turns) for name in names}
    peaks_mib = {name: max(turn[name].mib for turn in turns) for name in ("local", "stored")}
    parts = ("download", "local", "upload")
    chain_s = medians["download"] + max(medians["local"], medians["upload"])
    cores_s = sum(cpu_s[name] for name in parts) / (os.cpu_count() or 1)
    floor_s = max(chain_s, cores_s)
    above_mib = round(peaks_mib["stored"] - peaks_mib["local"], 1)
    ratio = medians["stored"] / floor_s
    return {
        "seconds": {
            name: {"median": round(medians[name], 2), "all": [round(each, 2) for each in taken]}
            for name, taken in seconds.items()
        },
        "cpu_s": {name: round(taken, 2) for name, taken in cpu_s.items()},
        "chain_s": round(chain_s, 2),
        "cores_s": round(cores_s, 2),
        "floor_s": round(floor_s, 2),
        "times_floor": round(ratio, 3),
        "times_chain": round(medians["stored"] / chain_s, 3),
        "one_after_the_other_s": round(sum(medians[name] for name in parts), 2),
        "peak_anonymous_mib": {name: round(mib, 1) for name, mib in peaks_mib.items()},
        "peak_above_local_mib": above_mib,
        "passed": ratio <= MAX_TIMES_FLOOR and above_mib <= ALLOWED_ABOVE_LOCAL_MIB,
    }


def one_turn(place: Place, smoke: str) -> dict[str, Cost]:
    """Do each of it once."""
    model, made, copy = (place.work / name for name in ("model.pt", "made.pt", "copy.pt"))
    kept, source, target = (place.store.child(name) for name in ("kept.pt", "model.pt", "made/"))
    how = ["--smoke", smoke, "--device", "cpu", "--quiet"]
    convert = ["convlast", "convert"]
    found = {"local": run([*convert, str(model), "-o", str(made), *how], place)}
    found["upload"] = run(moving("put", made, kept), place)
    made.unlink()
    asyncio.run(remove(kept))
    asyncio.run(put(model, source))
    found["download"] = run(moving("fetch", copy, source), place)
    copy.unlink()
    found["stored"] = run([*convert, source.text, "-o", target.text, *how], place)
    asyncio.run(emptied(place.store))
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


def run(command: list[str], place: Place) -> Cost:
    """Run a module."""
    began_s, began_cpu_s = time.perf_counter(), cpu_of(place.server)
    with subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL) as process:
        peak = Peak(process.pid)
        with peak:
            status = process.wait()
    taken_s, taken_cpu_s = time.perf_counter() - began_s, cpu_of(place.server) - began_cpu_s
    if status:
        sys.exit(f"{' '.join(command)} ended with {status}.")
    return Cost(taken_s, peak.mib, taken_cpu_s)


def cpu_of(server: int | None) -> float:
    """Return the seconds of cores that all commands, and a server, have taken until now."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken_s = usage.ru_utime + usage.ru_stime
    if server is not None:
        fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
        taken_s += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return taken_s


if __name__ == "__main__":
    main()

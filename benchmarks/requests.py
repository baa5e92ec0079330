"""Many requests at once: how many `POST /convert` are answered a second, for how many clients.

    python -m benchmarks.requests --work /dev/shm
    python -m benchmarks.requests --workers 1 2 4 --clients 8 32 --megabytes 0 1 --work /dev/shm
    python -m benchmarks.requests --megabytes 1 --clients 1 8 --rounds 9 --before CHECKOUT

Checkpoints of 6 kB, 1 MiB and 16 MiB are sent again and again, each client over one connection, to
convlast with `smoke=none`, to convlast with the default options, and to the service that anyone
would write (`comparators/naive.py`, on uvloop and httptools), which does no smoke and no proof.
They take turns; all figures are medians of the rounds. With `--workers` a service is started for
each number, as `CONVLAST_WORKERS`, and they take turns too. With `--before` the convlast of another
checkout takes its turn, and this one must not be slower. The queue has room for all clients.
Prints one JSON object; exits with 1 if a limit was missed, or if convlast refused a request.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeAlias

from benchmarks.checkpoints import save_checkpoint, save_tiny
from benchmarks.clients import ask, form
from benchmarks.machine import describe
from benchmarks.serving import others
from tests.service.running import REAL, start, start_at

OPTIONS: Mapping[str, Mapping[str, str]] = {"smoke=none": {"smoke": "none"}, "default": {}}
TINY = "6 kB"
MANY_CLIENTS = 8

MIB_PER_S, MIB_SHARE, MIB_ALONE_S = 40.0, 0.33, 0.025
"""For 1 MiB and `smoke=none`: answers a second for many clients, their share of the naive service's
answers, and the median time for a single client."""

TINY_PER_S = 12.0
"""For 6 kB and the default options: answers a second for many clients."""

BEFORE_SHARE = 0.95
"""Least share of the answers of an earlier convlast; the rest is left for noise."""

Row: TypeAlias = dict[str, Any]


class Target(NamedTuple):
    """One way of asking one service."""

    service: str
    """`convlast`, `before`, or a name in `benchmarks.serving.OTHERS`."""
    workers: int | None = None
    """Of convlast, as `CONVLAST_WORKERS`; none leaves its default."""
    options: str | None = None
    """A name in `OPTIONS`."""


Round: TypeAlias = Mapping[tuple[str, int, Target], Row]
"""The answers by the name of the file, the number of clients, and the target."""


def main() -> None:
    """Let each number of clients ask, and print the result."""
    arguments = parsed()
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        folder = Path(name)
        files = dict(save(folder, size) for size in arguments.megabytes)
        clients = max(arguments.clients)
        with targets(folder, clients, arguments.workers, before=arguments.before) as urls:
            rounds = list(measure(urls, files, arguments))
    rows = tell(rounds, {name: len(content) for name, content in files.items()})
    wrong = missed(rows)
    result = {
        "benchmark": "requests",
        "rounds": len(rounds),
        "seconds": arguments.seconds,
        "results": rows,
        "missed": wrong,
        "passed": not wrong,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def parsed(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 16, 32, 64])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0, 1, 16], help="0 is 6 kB")
    parser.add_argument("--workers", type=int, nargs="+", default=[], help="CONVLAST_WORKERS")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier convlast")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each case of a round")
    parser.add_argument("--at-most-s", type=float, default=420.0, help="then no round begins")
    parser.add_argument("--quick", action="store_true", help="see that it works, and no speed")
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.clients, arguments.megabytes = [1, 8], [0, 1]
        arguments.rounds, arguments.seconds = 1, 0.1
    return arguments


def save(folder: Path, megabytes: float) -> tuple[str, bytes]:
    """Save a checkpoint; return a name for its size, and its bytes."""
    path = folder / "model.pt"
    if megabytes:
        save_checkpoint(path, megabytes)
    else:
        save_tiny(path)
    return f"{megabytes:g} MiB" if megabytes else TINY, path.read_bytes()


@contextlib.contextmanager
def targets(
    folder: Path, clients: int, workers: Sequence[int], *, before: Path | None = None
) -> Iterator[dict[Target, str]]:
    """Start the services; yield where each target listens."""
    # All clients have one address, and a place is free again only after its answer was received.
    room = dict.fromkeys(("queue_size", "jobs_per_key", "max_downloads"), 2 * clients)
    numbers: Sequence[int | None] = workers or [None]
    urls: dict[Target, str] = {}
    with contextlib.ExitStack() as stack:
        for number in numbers:
            home = folder / f"workers-{number}"
            home.mkdir()
            convlast = start(home, REAL, None, **room, workers=number)
            stack.callback(convlast.stop)
            convlast.wait_until_ready()
            urls |= {Target("convlast", number, options): convlast.url for options in OPTIONS}
        if before is not None:
            home = folder / "before"
            home.mkdir()
            earlier = start_at(before.resolve(), home, REAL, None, {**room, "workers": None})
            stack.callback(earlier.stop)
            earlier.wait_until_ready()
            urls |= {Target("before", None, options): earlier.url for options in OPTIONS}
        naive, _ = stack.enter_context(others(folder, ["tuned"]))
        yield {**urls, Target("tuned"): naive["tuned"]}


def measure(
    urls: Mapping[Target, str], files: Mapping[str, bytes], arguments: argparse.Namespace
) -> Iterator[Round]:
    """Ask all targets in turn, round by round, after one request to each that does not count."""
    bodies = {
        (file, target): form(content, OPTIONS[target.options] if target.options else {})
        for (file, content), target in product(files.items(), urls)
    }
    for (_, target), body in bodies.items():
        ask(urls[target], body, clients=1, seconds=0)
    until_s = time.monotonic() + arguments.at_most_s
    for _ in range(arguments.rounds):
        yield {
            (file, clients, target): ask(
                urls[target], bodies[file, target], clients, arguments.seconds
            )
            for file, clients, target in product(files, arguments.clients, urls)
        }
        if time.monotonic() > until_s:
            break


def tell(rounds: Sequence[Round], sizes: Mapping[str, int]) -> list[Row]:
    """Return a row for each file, number of clients and kind of convlast, beside the naive service.

    Args:
        rounds: As `measure` yields them.
        sizes: The bytes of each file.
    """
    rows = []
    for file, clients, target in rounds[0]:
        if target.service != "convlast":
            continue
        found = _medians([each[file, clients, target] for each in rounds])
        naive = _medians([each[file, clients, Target("tuned")] for each in rounds])
        row = {
            "file": file,
            "bytes": sizes[file],
            "options": target.options,
            "workers": target.workers,
            "clients": clients,
            "convlast": found,
            "tuned": naive,
            "share_of_tuned": round(_share(found, naive), 3),
        }
        earlier = file, clients, Target("before", None, target.options)
        if earlier in rounds[0]:
            before = _medians([each[earlier] for each in rounds])
            row |= {"before": before, "share_of_before": round(_share(found, before), 3)}
        rows.append(row)
    return rows


def _medians(rounds: Sequence[Row]) -> Row:
    rates = [each["answers_per_s"] for each in rounds]
    times = [each["median_s"] for each in rounds if each["median_s"] is not None]
    codes = sum((Counter(each["codes"]) for each in rounds), Counter[str]())
    return {
        "answers_per_s": round(median(rates), 2),
        "all": [round(rate, 2) for rate in rates],
        "median_s": round(median(times), 4) if times else None,
        "codes": dict(sorted(codes.items())),
    }


def _share(found: Row, naive: Row) -> float:
    """Return the median of the rounds' ratios: what slows a round slows both."""
    pairs = zip(found["all"], naive["all"], strict=True)
    return median(mine / other if other else 0.0 for mine, other in pairs)


def missed(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each limit that was missed.

    Rates are limited only for the default number of workers.
    """
    wrong = []
    for row in rows:
        case = f"{row['file']}, {row['options']}, {row['clients']} clients"
        if row["workers"] is not None:
            case += f", {row['workers']} workers"
        found = row["convlast"]
        if set(found["codes"]) != {"200"}:
            wrong.append(f"{case}: answers other than 200: {found['codes']}")
        if row["workers"] is None:
            wrong += [f"{case}: {what}" for what in _slow(row, found)]
    return wrong


def _slow(row: Row, found: Row) -> Iterator[str]:
    rate, alone_s = found["answers_per_s"], found["median_s"]
    is_many = row["clients"] >= MANY_CLIENTS
    kind = row["file"], row["options"]
    if kind == ("1 MiB", "smoke=none"):
        if is_many and rate < MIB_PER_S:
            yield f"{rate:g} answers a second, and not {MIB_PER_S:g}"
        if is_many and row["share_of_tuned"] < MIB_SHARE:
            yield f"{row['share_of_tuned']:g} of the naive service's, and not {MIB_SHARE:g}"
        if row.get("share_of_before", 1.0) < BEFORE_SHARE:
            yield f"{row['share_of_before']:g} of the earlier convlast's answers"
        if row["clients"] == 1 and (alone_s is None or alone_s > MIB_ALONE_S):
            yield f"the median is {alone_s} s, and not {MIB_ALONE_S:g} s"
    if kind == (TINY, "default") and is_many and rate < TINY_PER_S:
        yield f"{rate:g} answers a second, and not {TINY_PER_S:g}"


if __name__ == "__main__":
    main()

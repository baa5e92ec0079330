"""What the layout pays on a GPU: contiguous, all converted, and what `select=fastest` chose.

Also the bytes of a conversion through the GPU, by `benchmarks.gpu.weights`, and the jobs a second
of the service on it, by `benchmarks.gpu.throughput`, and on several, by `benchmarks.gpu.parallel`.

    python -m benchmarks.gpu > benchmarks/results/gpu.json
    python -m benchmarks.gpu r3d_18 UNet --search-s 20 --into FILE

Each model runs in a process of its own, so that one which fails, loses the device or takes too long
costs no other its result. Models whose package is absent are left out by name. Prints one JSON
object, and progress on stderr; exits with 1 if something failed, or if a model's `fastest` was
slower than the better of all and none. With `--into FILE` the object is written there after each
model as well, and what an earlier run on the same machine and day has written there is not measured
again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.gpu.measuring import Limits
from benchmarks.gpu.models import MODELS
from benchmarks.gpu.runs import Result, earlier, gather, in_a_process, result_of
from benchmarks.machine import describe, describe_gpu
from convlast.devices import resolve
from convlast.errors import DeviceUnavailableError

LAST = ("throughput", "parallel")
"""Measured after the models, which matter more if time is short."""


def main() -> None:
    """Measure the models that are named, or all."""
    arguments = _parsed()
    limits = Limits(arguments.race_s, arguments.search_s)
    try:
        device = resolve(arguments.device)
    except DeviceUnavailableError as error:
        sys.exit(f"This measures a GPU. {error}")
    if arguments.one:
        model = MODELS[arguments.names[0]]
        print(json.dumps(result_of(model, device, limits, arguments.work)))
        return
    machine = {**describe(), **describe_gpu(device)}
    known = earlier(arguments.into, machine)
    asked = dict.fromkeys([*(arguments.names or MODELS), *known])  # in the order given

    def run(name: str) -> Result:
        print(f"{name} …", file=sys.stderr, flush=True)
        told = [name, "--one", *_options(arguments)]
        return known.get(name) or in_a_process("benchmarks.gpu", told, arguments.model_s)

    def apart(name: str) -> Result:
        told = ["--device", str(device)]
        return in_a_process(f"benchmarks.gpu.{name}", told, arguments.model_s)

    head: Result = {"benchmark": "gpu", "machine": machine, "limits": vars(limits)}
    head["weights"] = apart("weights")

    def note(found: Result) -> None:
        if arguments.into:
            arguments.into.write_text(f"{json.dumps({**head, **found}, indent=2)}\n")

    found = gather(asked, run, note)
    for name in LAST:
        head[name] = apart(name)
    found["passed"] &= all(head[name]["passed"] for name in ("weights", *LAST))
    note(found)
    print(json.dumps({**head, **found}, indent=2))
    sys.exit(0 if found["passed"] else 1)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", choices=[*MODELS, []], metavar="MODEL")
    parser.add_argument("--device", default="cuda", help="cpu tries the program, and no speed")
    parser.add_argument("--race-s", type=float, default=Limits.race_s, metavar="S")
    parser.add_argument("--search-s", type=float, default=Limits.search_s, metavar="S")
    parser.add_argument("--model-s", type=float, default=900.0, metavar="S", help="then stopped")
    parser.add_argument("--work", type=Path, help="a folder for checkpoints of up to 1 GB")
    parser.add_argument("--into", type=Path, metavar="FILE", help="written after each model")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> list[str]:
    """Return what the process of one model is told."""
    options = ["--device", arguments.device, "--race-s", str(arguments.race_s)]
    options += ["--search-s", str(arguments.search_s)]
    return options + (["--work", str(arguments.work)] if arguments.work else [])


if __name__ == "__main__":
    main()

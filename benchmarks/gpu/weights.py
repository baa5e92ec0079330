"""The weights of a conversion through a GPU, against a plain pinned copy there and back.

    python -m benchmarks.gpu.weights

All pass the same bytes, in turns: `pinned` copies them to the device and back, one after the other;
`permuted` is what a conversion does with bytes that lie in its pinned buffers; `converted` reads
them from ordinary memory first, as from a file's pages; `cpu` is the same without a GPU. Nothing is
written. `passed` says whether GPU and CPU gave the same bytes. Prints one JSON object, which
`python -m benchmarks.gpu` makes part of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from convlast.checkpoints.checkpoint import tensor_over
from convlast.devices import resolve
from convlast.errors import DeviceUnavailableError
from convlast.layout.memory_format import strides_of
from convlast.smoke import device_health as health
from convlast.writing.permutation import Read, Restriding, permute_all

CPU = torch.device("cpu")

CASES: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "large": (16, (512, 512, 3, 3, 3)),
    "small": (512, (64, 64, 3, 3, 3)),
}
"""How many weights of which shape, in fp32: 28 MB each, and 0.4."""


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    try:
        device = resolve(arguments.device)
    except DeviceUnavailableError as error:
        sys.exit(f"This measures a GPU. {error}")
    found = measure(device, arguments.repeats)
    print(json.dumps(found))
    sys.exit(0 if found["passed"] else 1)


def measure(
    device: torch.device,
    repeats: int,
    cases: Mapping[str, tuple[int, tuple[int, ...]]] = CASES,
) -> dict[str, Any]:
    """Measure each case.

    Args:
        device: The GPU.
        repeats: Rounds, in each of which all have their turn.
        cases: How many weights of which shape.
    """
    results = []
    for name, (number, shape) in cases.items():
        weights = [torch.randn(shape) for _ in range(number)]
        results.append({"case": name, "shape": shape, **_compare(weights, device, repeats)})
    return {"passed": all(each["same_bytes"] for each in results), "results": results}


def _compare(weights: Sequence[Tensor], device: torch.device, repeats: int) -> dict[str, Any]:
    ways: dict[str, Callable[[], object]] = {
        "pinned": _copying(weights, device),
        "permuted": partial(_convert, weights, device, read=_leave),
        "converted": partial(_convert, weights, device),
        "cpu": partial(_convert, weights, CPU),
    }
    first_s = {name: _seconds(way) for name, way in ways.items()}
    turns = [{name: _seconds(way) for name, way in ways.items()} for _ in range(repeats)]
    nbytes = sum(weight.nbytes for weight in weights)
    seconds = {name: [turn[name] for turn in turns] for name in ways}
    return {
        "weights": len(weights),
        "bytes": nbytes,
        "first_s": first_s,
        "seconds": {name: {"median": median(each), "all": each} for name, each in seconds.items()},
        "bytes_per_s": {name: nbytes / median(each) for name, each in seconds.items()},
        "same_bytes": _digest(weights, device) == _digest(weights, CPU),
    }


def _copying(weights: Sequence[Tensor], device: torch.device) -> Callable[[], None]:
    """Return what copies as many bytes to the device and back, through pinned memory."""
    is_gpu = device.type == "cuda"
    nbytes = max(weight.nbytes for weight in weights)
    here, back = (torch.empty(nbytes, dtype=torch.uint8, pin_memory=is_gpu) for _ in range(2))
    there = torch.empty(nbytes, dtype=torch.uint8, device=device)

    def copy() -> None:
        for weight in weights:
            part = slice(weight.nbytes)
            there[part].copy_(here[part], non_blocking=True)
            back[part].copy_(there[part], non_blocking=True)
        health.wait_for(device)

    return copy


def _convert(weights: Sequence[Tensor], device: torch.device, read: Read | None = None) -> None:
    for _ in permute_all(((_restriding(w), read or partial(_fill, w)) for w in weights), device):
        pass


def _digest(weights: Sequence[Tensor], device: torch.device) -> str:
    digest = hashlib.sha256()
    for _, after in permute_all(((_restriding(w), partial(_fill, w)) for w in weights), device):
        digest.update(after)
    return digest.hexdigest()


def _restriding(weight: Tensor) -> Restriding:
    after = strides_of(weight.shape, "channels_last_3d")
    return Restriding(tuple(weight.shape), weight.stride(), after, weight.itemsize)


def _fill(weight: Tensor, buffer: memoryview) -> None:
    tensor_over(buffer, weight.dtype).copy_(weight.flatten())


def _leave(buffer: memoryview) -> None:
    """Read nothing: what is in the buffer is moved as it is."""


def _seconds(run: Callable[[], object]) -> float:
    began_s = perf_counter()
    run()
    return perf_counter() - began_s


if __name__ == "__main__":
    main()

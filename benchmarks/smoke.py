"""What the smoke of a whole model costs, in forwards of the same model in fp32.

    PYTHONPATH=.venv/recipes/site-packages python -m benchmarks.smoke
    PYTHONPATH=... python -m benchmarks.smoke --program FILE N,C,D,H,W

Each model is built by its architecture from a checkpoint with random values, as a conversion does
it; a program, such as TorchScript, is what its file holds. Programs are looked for among the real
checkpoints in `../shared`, too. In turns, the model is run in fp32, without gradients, and smoked
whole; each pair gives a ratio, of which the median counts. `cpu_ratio` is the same of the
processor's time, on which others that use the machine have less influence. Models whose package or
file is absent are left out by name. Prints one JSON object; exits with 1 if a ratio is above what
is allowed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import machine
from convlast.architectures import Case, Subject, find_subject
from convlast.architectures.packages import import_inside
from convlast.containers import open_checkpoint
from convlast.conversion.inference import weights_of
from convlast.errors import OptionError
from convlast.layout.memory_format import laid_out
from convlast.options import Options
from convlast.planning.plan import LayerPlan, make_plan
from convlast.smoke.model.specimen import Weights
from convlast.smoke.model.ways import Request
from convlast.smoke.model.whole import smoke_model

ALLOWED = 12.0
"""Forwards that a smoke may cost."""

CPU = torch.device("cpu")

MODELS: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    "torchvision.models.video.r3d_18": ({}, (2, 3, 16, 112, 112), "auto"),
    "monai.networks.nets.UNet": (
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [16, 32, 64, 128],
         "strides": [2, 2, 2], "num_res_units": 2},
        (2, 1, 96, 96, 96), "auto",
    ),
    "monai.networks.nets.SegResNet": (
        {"spatial_dims": 3, "init_filters": 16, "in_channels": 1, "out_channels": 2},
        (2, 1, 64, 64, 64), "auto",
    ),
    "monai.networks.nets.DynUNet": (
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3, 3, 3],
         "strides": [1, 2, 2, 2], "upsample_kernel_size": [2, 2, 2], "norm_name": "instance",
         "filters": [32, 64, 128, 256]},
        (2, 1, 64, 64, 64), "auto",
    ),
    "monai.networks.nets.DenseNet121": (
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}, (2, 1, 96, 96, 96), "auto",
    ),
    "diffusers.AutoencoderKLWan": (
        {"base_dim": 32, "z_dim": 16, "latents_mean": [0.0] * 16, "latents_std": [1.0] * 16},
        (2, 16, 2, 16, 16), "decode",
    ),
}  # fmt: skip

SHARED = Path(__file__).parents[2] / "shared" / "checkpoints"
"""Real checkpoints, which are no part of this project and may be absent."""

PROGRAMS = {"gnina_default2017_torchscript.pt": "2,35,48,48,48"}
"""The shape of the input of each program there."""


def main() -> None:
    """Measure each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="a part of the names of the models")
    parser.add_argument("--program", nargs=2, action="append", default=[], help="file and shape")
    arguments = parser.parse_args()
    named = [name for name in (*MODELS, *PROGRAMS) if (arguments.only or "") in name]
    absent = [name for name in named if not is_there(name)]
    results = [measure(name, arguments.rounds) for name in named if name not in absent]
    results += [
        measure_program(Path(file), shape, arguments.rounds) for file, shape in arguments.program
    ]
    passed = all(result["ratio"] <= ALLOWED for result in results)
    print(
        json.dumps(
            {
                "benchmark": "smoke",
                **machine.describe(),
                "threads": torch.get_num_threads(),
                "allowed_ratio": ALLOWED,
                "passed": passed,
                "absent": absent,
                "results": results,
            },
            indent=2,
        )
    )
    if not passed:
        sys.exit(1)


def is_there(name: str) -> bool:
    """Say whether the package of a model, or the file of a program, is there."""
    if name in PROGRAMS:
        return (SHARED / name).is_file()
    try:
        import_inside(name.rpartition(".")[0])
    except OptionError:
        return False
    return True


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Build one model, or read one program, and compare."""
    if name in PROGRAMS:
        return measure_program(SHARED / name, PROGRAMS[name], rounds)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject, converted = built(name, Path(folder, "model.pt"))
        return compare(name, subject, converted, MODELS[name][1], rounds)


def measure_program(path: Path, shape: str, rounds: int) -> dict[str, Any]:
    """Read one program and compare."""
    asked = Options.parse(input_shape=shape)
    assert asked.input_shape is not None
    subject, converted = found_in(path, asked)
    return compare(path.name, subject, converted, asked.input_shape, rounds)


def compare(
    name: str, subject: Subject, converted: Weights, shape: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Time forward and smoke of one model in turns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, inputs = subject.make_module(), subject.make_inputs(shape[0])
        run = getattr(module, subject.entry)
        statuses: list[str] = []

        def forward() -> None:
            with torch.no_grad():
                run(*inputs.args, **inputs.kwargs)

        def smoke() -> None:
            found = smoke_model(subject, converted, CPU, Request(samples=shape[0]))
            statuses.append(found.smoke.status)

        forward()
        pairs = [(timed(forward), timed(smoke)) for _ in range(rounds)]
    ratios = [smoke.wall_s / forward.wall_s for forward, smoke in pairs]
    cpu_ratios = [smoke.cpu_s / forward.cpu_s for forward, smoke in pairs]
    found = {
        "model": name,
        "input_shape": shape,
        "entry": subject.entry,
        "status": statuses[-1],
        "forward_s": round(median(forward.wall_s for forward, _ in pairs), 3),
        "smoke_s": round(median(smoke.wall_s for _, smoke in pairs), 3),
        "ratio": round(median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "cpu_ratio": round(median(cpu_ratios), 2),
    }
    print(json.dumps(found), file=sys.stderr)
    return found


def built(name: str, path: Path) -> tuple[Subject, Weights]:
    """Save a checkpoint of a model, and build the model from it as a conversion does."""
    options, shape, entry = MODELS[name]
    package, _, function = name.rpartition(".")
    torch.manual_seed(0)
    torch.save(getattr(import_inside(package), function)(**options).state_dict(), path)
    asked = Options.model_validate(
        {"architecture": name, "architecture_options": options, "input_shape": shape,
         "entry_point": entry}
    )  # fmt: skip
    return found_in(path, asked)


def found_in(
    path: Path, asked: Options, prefixes: Sequence[str] | None = None
) -> tuple[Subject, Weights]:
    """Find the model of a file as a conversion does, and its converted weights."""
    checkpoint = open_checkpoint(path, allow_programs=True)
    plan = make_plan(checkpoint, "channels_last_3d")
    subject = find_subject(Case(checkpoint, plan, asked, prefixes=prefixes))
    if subject is None:
        raise SystemExit(f"{path.name}: no model was found")

    def read(decision: LayerPlan) -> torch.Tensor:
        return laid_out(checkpoint.read(decision.original), decision.stride_after)

    return subject, weights_of(subject, plan, read)


@dataclass(frozen=True)
class Took:
    """What something took: on the clock, and of the processor."""

    wall_s: float
    cpu_s: float


def timed(run: Callable[[], None]) -> Took:
    """Run something and return what it took."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    run()
    return Took(time.perf_counter() - wall_s, time.process_time() - cpu_s)


if __name__ == "__main__":
    main()

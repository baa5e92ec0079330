"""What the smoke of a whole model costs, in forwards of the same model in fp32.

    PYTHONPATH=.venv/recipes python -m benchmarks.smoke

Each model is built by its architecture from a checkpoint with random values, as a conversion does
it. In turns, the model is run once in fp32, without gradients, and smoked whole; the medians make
the ratio. Models whose package is absent are left out by name. Prints one JSON object; exits with 1
if a ratio is above what is allowed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import machine
from convlast.architectures import find_subject
from convlast.architectures.packages import import_inside
from convlast.checkpoints import open_checkpoint
from convlast.errors import OptionError
from convlast.inference import weights_of
from convlast.options import Options
from convlast.plan import Decision, make_plan
from convlast.smoke.model.ways import Request
from convlast.smoke.model.whole import smoke_model

ALLOWED = 12.0
"""Forwards that a smoke may cost."""

CPU = torch.device("cpu")

MODELS: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    "torchvision.models.video.r3d_18": ({}, (2, 3, 8, 112, 112), "auto"),
    "monai.networks.nets.UNet": (
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [16, 32, 64, 128],
         "strides": [2, 2, 2], "num_res_units": 2},
        (2, 1, 64, 64, 64), "auto",
    ),
    "monai.networks.nets.SegResNet": (
        {"spatial_dims": 3, "init_filters": 16, "in_channels": 1, "out_channels": 2},
        (2, 1, 48, 48, 48), "auto",
    ),
    "monai.networks.nets.DynUNet": (
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3, 3, 3],
         "strides": [1, 2, 2, 2], "upsample_kernel_size": [2, 2, 2], "norm_name": "instance",
         "filters": [32, 64, 128, 256]},
        (2, 1, 48, 48, 48), "auto",
    ),
    "monai.networks.nets.DenseNet121": (
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}, (2, 1, 64, 64, 64), "auto",
    ),
    "diffusers.AutoencoderKLWan": (
        {"base_dim": 32, "z_dim": 16, "latents_mean": [0.0] * 16, "latents_std": [1.0] * 16},
        (2, 16, 2, 16, 16), "decode",
    ),
}  # fmt: skip


def main() -> None:
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="a part of the names of the models")
    arguments = parser.parse_args()
    results, absent = [], []
    for name in MODELS:
        if arguments.only and arguments.only not in name:
            continue
        try:
            import_inside(name.rpartition(".")[0])
        except OptionError:
            absent.append(name)
        else:
            results.append(measure(name, arguments.rounds))
            print(json.dumps(results[-1]), file=sys.stderr)
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


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Time forward and smoke of one model in turns."""
    options, shape, entry = MODELS[name]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "model.pt")
        package, _, function = name.rpartition(".")
        torch.manual_seed(0)
        torch.save(getattr(import_inside(package), function)(**options).state_dict(), path)
        asked = Options.model_validate(
            {"architecture": name, "architecture_options": options, "input_shape": shape,
             "entry_point": entry}
        )  # fmt: skip
        checkpoint = open_checkpoint(path)
        plan = make_plan(checkpoint, "channels_last_3d")
        subject = find_subject(checkpoint, plan, asked)
        if subject is None:
            raise SystemExit(f"{name} was not built")

        def read(decision: Decision) -> torch.Tensor:
            weight = checkpoint.read(decision.original)
            laid_out = torch.empty_strided(weight.shape, decision.stride_after)
            return laid_out.copy_(weight)

        converted = weights_of(subject, plan, read)
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
    forward_s, smoke_s = (median(times) for times in zip(*pairs, strict=True))
    return {
        "model": name,
        "input_shape": shape,
        "entry": subject.entry,
        "status": statuses[-1],
        "forward_s": round(forward_s, 3),
        "smoke_s": round(smoke_s, 3),
        "ratio": round(smoke_s / forward_s, 2),
        "ratios": [round(smoke_s / forward_s, 2) for forward_s, smoke_s in pairs],
    }


def timed(run: Callable[[], None]) -> float:
    """Run something and return the seconds it took."""
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()

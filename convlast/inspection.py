"""`inspect`: what a conversion would do, without doing it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from convlast import findings
from convlast.checkpoints import open_checkpoint
from convlast.devices import environment_of
from convlast.digest import sha256_of
from convlast.options import Limits, Options
from convlast.plan import make_plan
from convlast.report import InputFile, Report, verdict_of

_LIMITS = Limits()


def inspect(
    source: str | os.PathLike[str],
    options: Options | None = None,
    *,
    name: str | None = None,
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
) -> Report:
    """Report the convolution weights of a checkpoint; convert nothing, and need no GPU.

    Args:
        source: The checkpoint.
        options: What a conversion would be asked for; `memory_format` and `select` count.
        name: The name the source is known by, if not its own.
        limits: What the file may cost.
        allow_programs: Whether files that hold code may be opened.

    Returns:
        A report whose layers are `convertible`, `already`, `kept` or `skipped`.

    Raises:
        ConvlastError: One of its kinds; see `convlast.errors`.
    """
    path = Path(source)
    options = options or Options()
    checkpoint = open_checkpoint(path, limits=limits, allow_programs=allow_programs)
    plan = make_plan(checkpoint, options.memory_format, options.select, limits)
    layers = plan.layers()
    for layer in layers:
        if layer.status == "converted":
            layer.status = "convertible"
    found = list(findings.of_plan(plan))
    return Report(
        verdict=verdict_of(found),
        findings=found,
        input=InputFile(
            filename=name or path.name,
            sha256=sha256_of(path),
            bytes=path.stat().st_size,
            container=checkpoint.container,
            wrapper=plan.wrapper,
        ),
        options=options,
        environment=environment_of(torch.device("cpu")),
        layers=layers,
    )

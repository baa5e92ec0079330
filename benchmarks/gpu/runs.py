"""Each model in a process of its own, and all results in one: none costs another its result."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch

from benchmarks.gpu.measuring import Limits, measure
from benchmarks.gpu.models import PREFIXES, Model, built
from convlast.architectures.resolving import resolve
from convlast.errors import OptionError
from convlast.report.wording import words_of
from convlast.smoke.model.specimen import Specimen

Result: TypeAlias = dict[str, Any]
"""Of one model: `absent` says what is not installed, `error` what it failed with; else figures."""


def result_of(model: Model, device: torch.device, limits: Limits, work: Path | None) -> Result:
    """Build and measure one model in this process; what goes wrong is its result.

    Args:
        model: The model.
        device: Where it runs.
        limits: How long things may take.
        work: A folder for its checkpoint.
    """
    said = {"architecture": model.architecture, "input_shape": model.input_shape}
    try:
        if reason := _absence(model):
            return {"absent": reason}
        with tempfile.TemporaryDirectory(dir=work) as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            subject, converted = built(model, Path(folder, "model.pt"))
            make = partial(Specimen, subject, converted, device)
            said["entry"] = subject.entry
            return {**said, **measure(make, model.input_shape[0], limits)}
    except Exception as error:
        traceback.print_exc()
        return {**said, "passed": False, "error": words_of(error)}


def _absence(model: Model) -> str | None:
    """Say which package is not installed; None where all are."""
    try:
        resolve(model.architecture, PREFIXES)
    except OptionError as error:
        return str(error)
    return None


def in_a_process(module: str, arguments: Sequence[str], limit_s: float) -> Result:
    """Measure in a process of its own, whose end is a result as well.

    Args:
        module: What runs there, and prints its result as one line of JSON.
        arguments: Of that program.
        limit_s: Seconds after which it is stopped.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, text=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return {"passed": False, "error": f"stopped after {limit_s:g} s"}
    last = next(reversed(done.stdout.splitlines()), "")  # packages print, too
    if not last.startswith("{"):
        return {"passed": False, "error": f"its process ended with {done.returncode}"}
    result: Result = json.loads(last)
    return result


def gather(
    names: Iterable[str], run: Callable[[str], Result], note: Callable[[Result], None]
) -> Result:
    """Run one model after the other; return all results, and whether each passed.

    Args:
        names: The models.
        run: Measures one.
        note: Told of all so far after each model.
    """
    absent: list[str] = []
    results: list[Result] = []
    whole: Result = {"passed": False, "absent": absent, "results": results}
    for name in names:
        result = run(name)
        if reason := result.get("absent"):
            print(f"{name} is left out: {reason}", file=sys.stderr)
            absent.append(name)
        else:
            results.append({"model": name, **result})
        whole["passed"] = bool(results) and all(each["passed"] for each in results)
        note(whole)
    return whole


def earlier(file: Path | None, machine: Mapping[str, Any]) -> dict[str, Result]:
    """Return the models that a run on the same machine and day has measured without an error."""
    if file is None or not file.exists():
        return {}
    whole: Result = json.loads(file.read_text())
    if whole["machine"] != machine:
        return {}
    return {each["model"]: each for each in whole["results"] if "error" not in each}

"""A program, run before and after on the same input.

A view that is right for a contiguous tensor raises on one that is channels-last; `torch.export`
writes such views into what it traces, and people write them between convolutions and linear layers.
Only a run tells. These lines, PyTorch's loaders in the proof, and the smoke are the only ones that
run what is in a file, and they do so only where programs were allowed.

Source: https://docs.pytorch.org/docs/2.13/export.html#torch.export.ExportedProgram
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from convlast.checkpoints.programs.torchscript import TorchScript
from convlast.errors import UnsupportedContainerError
from convlast.report.wording import words_of
from convlast.smoke.unwritten import ZeroingUnwritten

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How far outputs may differ, by dtype, of the largest value in them: another layout adds up in
another order."""


def require_same_results(original: Path, converted: Path) -> None:
    """Run both programs on the inputs that the original was exported with.

    Raises:
        UnsupportedContainerError: If there are no such inputs, or one of the programs raises on
            them, or they disagree.
    """
    before = _load(original, "The program cannot be loaded")
    if before.example_inputs is None:
        raise _refusal("The program has no example inputs, so that a converted one cannot be tried")
    arguments, keywords = before.example_inputs
    with torch.no_grad():
        expected = _run(before, arguments, keywords, "The program raises on its own example inputs")
        after = _load(converted, "The converted program cannot be loaded")
        found = _run(
            after, arguments, keywords, "The converted program raises on the example inputs"
        )
    if (largest := _difference(expected, found)) > 1:
        raise _refusal(
            "The converted program gives other results on the example inputs: "
            f"{largest:.1f} times what rounding explains"
        )


@dataclass(frozen=True)
class ScriptTrial:
    """What running a TorchScript program before and after showed.

    Attributes:
        difference: What is wrong with the converted program; None if nothing is, or if it was not
            run.
        calls_view: Whether it was not run, and its code calls `torch.view`.
    """

    difference: str | None = None
    calls_view: bool = False


def try_script(
    program: TorchScript, converted: Path, input_shape: tuple[int, ...] | None
) -> ScriptTrial:
    """Run both TorchScript programs on one random input, if its shape is known.

    Args:
        program: The input.
        converted: The artifact.
        input_shape: (N, C, D, H, W)
    """
    if input_shape is None:
        return ScriptTrial(calls_view=program.calls_view)
    return ScriptTrial(_difference_of_scripts(program.path, converted, input_shape))


def _difference_of_scripts(
    original: Path, converted: Path, input_shape: tuple[int, ...]
) -> str | None:
    """Say what is wrong with the converted program; None if nothing is."""
    jit: Any = torch.jit  # whose functions are not annotated
    sample = torch.randn(input_shape, generator=torch.Generator().manual_seed(0))
    results = []
    for path in (original, converted):
        zeroing = ZeroingUnwritten()
        try:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
                warnings.simplefilter("ignore")
                torch.manual_seed(0)
                loaded = jit.load(path, map_location="cpu").eval()
                with zeroing:
                    results.append(loaded(sample.clone()))
        except Exception as error:
            if path == original:
                return None  # an input that is not for this program tells nothing
            return f"it raises where the original does not: {words_of(error, zeroing.raised)}"
    largest = _difference(*results)
    return None if largest <= 1 else f"its results differ, {largest:.1f} times as rounding explains"


def _load(path: Path, failure: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except Exception as error:
        raise _refusal(f"{failure}: {words_of(error)}") from error


def _run(program: Any, arguments: Any, keywords: Any, failure: str) -> Any:
    """Run a program on copies of its inputs, with the same random numbers each time."""
    copies = copy.deepcopy((arguments, keywords))
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            module = program.module()
            with ZeroingUnwritten():  # its chance values would differ from run to run
                return module(*copies[0], **copies[1])
    except Exception as error:
        raise _refusal(f"{failure}: {words_of(error)}") from error


def _difference(expected: Any, found: Any) -> float:
    """Return the largest difference of two results, in units of what is allowed."""
    left, right = list(_leaves(expected)), list(_leaves(found))
    if len(left) != len(right):
        return float("inf")
    return max((_distance(*pair) for pair in zip(left, right, strict=True)), default=0.0)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what is in lists, tuples and dicts."""
    if isinstance(value, dict):
        yield from (leaf for key in value for leaf in (key, *_leaves(value[key])))
    elif isinstance(value, list | tuple):
        yield from (leaf for part in value for leaf in _leaves(part))
    else:
        yield value


def _distance(left: Any, right: Any) -> float:
    if not isinstance(left, torch.Tensor):
        return 0.0 if left == right else float("inf")
    if left.shape != right.shape or left.dtype != right.dtype:
        return float("inf")
    if not left.is_floating_point():
        return 0.0 if torch.equal(left, right) else float("inf")
    if not torch.equal(left.isfinite(), right.isfinite()):
        return float("inf")
    finite = left.isfinite()
    wide, other = left.to(torch.float64)[finite], right.to(torch.float64)[finite]
    if wide.numel() == 0:
        return 0.0
    scale = max(float(wide.abs().max()), torch.finfo(torch.float32).tiny)
    return float((wide - other).abs().max()) / (scale * _TOLERANCE.get(left.dtype, 1e-1))


def _refusal(reason: str) -> UnsupportedContainerError:
    return UnsupportedContainerError(
        f"{reason}.",
        remedy="Convert the model before it is exported: "
        "torch.nn.utils.convert_conv3d_weight_memory_format(model, torch.channels_last_3d).",
    )

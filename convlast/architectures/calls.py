"""How a model is called: which method, and which arguments besides the volume or clip."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from convlast.architectures.sizes import Shape
from convlast.architectures.subject import Inputs
from convlast.errors import OptionError

ENTRIES = ("forward", "encode", "decode")

_STEPS = {"timestep", "timesteps"}
_CONTEXTS = {"encoder_hidden_states", "context"}
_WIDTHS = ("text_dim", "cross_attention_dim", "joint_attention_dim", "encoder_hid_dim")
"""The options of a model that may contain the width of a text encoder's states."""

_STEP, _TOKENS = 10, 8


def entry_of(model: Any, wanted: str) -> str:
    """Return the method to run; `auto` is `forward`.

    Raises:
        OptionError: If the model has no such method.
    """
    entry = "forward" if wanted == "auto" else wanted
    if entry not in ENTRIES or not callable(getattr(model, entry, None)):
        there = [each for each in ENTRIES if callable(getattr(model, each, None))]
        raise OptionError(
            "entry_point",
            f"The model has no method {entry!r}.",
            remedy=f"It has {', '.join(there)}.",
        )
    return entry


def call(model: Any, entry: str, inputs: Inputs) -> Any:
    """Run a method of a model; for `forward`, call the model, so that hooks run."""
    method = model if entry == "forward" else getattr(model, entry)
    return method(*inputs.args, **inputs.kwargs)


def inputs_of(
    model: Any, entry: str, options: Mapping[str, Any], shape: Shape, device: str = "cpu"
) -> Inputs:
    """Make the arguments of a method: normally distributed values, the same each time.

    Args:
        model: The model.
        entry: The method.
        options: The model's options, for the width of a context.
        shape: (N, C, D, H, W)
        device: `cpu`, or `meta` for shapes alone.

    Raises:
        OptionError: If the method needs an argument that cannot be made up.
    """
    wanted, taken = _parameters(getattr(model, entry))
    kwargs: dict[str, object] = {}
    for name in wanted[1:]:
        kwargs[name] = _made_up(name, options, shape[0], device)
    if "return_dict" in taken:
        kwargs["return_dict"] = False
    return Inputs((normal(shape, device),), kwargs)


def normal(shape: Shape, device: str = "cpu") -> torch.Tensor:
    """Draw normal values, the same each time; a larger batch begins with the smaller one."""
    if device == "meta":
        return torch.empty(shape, device="meta")
    batch = torch.empty(shape, device="cpu")
    for number, sample in enumerate(batch):
        sample.normal_(generator=torch.Generator("cpu").manual_seed(number))
    return batch


def _parameters(method: Callable[..., Any]) -> tuple[list[str], set[str]]:
    """Return the names of a method's required parameters, in order, and of all its parameters."""
    try:
        parameters: Iterable[inspect.Parameter] = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return [], set()
    named = [
        each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    return [each.name for each in named if each.default is each.empty], {e.name for e in named}


def _made_up(name: str, options: Mapping[str, Any], batch: int, device: str) -> torch.Tensor:
    if name in _STEPS:
        return torch.full((batch,), _STEP, device=device)
    width = next((options[each] for each in _WIDTHS if isinstance(options.get(each), int)), None)
    if name in _CONTEXTS and width is not None:
        return normal((batch, _TOKENS, width), device)
    raise OptionError(
        "architecture",
        f"The model's method also needs {name!r}, which cannot be made up.",
        remedy="Use smoke=layers, which runs each layer alone.",
    )

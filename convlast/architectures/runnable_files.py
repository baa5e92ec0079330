"""Files that contain their model: TorchScript, exported programs, pickled `torch.nn` modules.

Programs are run here, so they must have been allowed: otherwise `open_checkpoint` refuses them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convlast.architectures.calls import call, entry_of, inputs_of, normal
from convlast.architectures.case import Case
from convlast.architectures.search import find_shape
from convlast.architectures.sizes import Shape, candidates, channels_of, likeliest
from convlast.architectures.state_dicts import made_by, state_dict_of, weights_of
from convlast.architectures.subject import Inputs, Subject
from convlast.checkpoints.tree import value_at
from convlast.errors import OptionError, UnsupportedContainerError
from convlast.planning.plan import Plan
from convlast.report.wording import words_of


def module_in(case: Case) -> nn.Module | None:
    """Return the pickled module with most of the plan's weights, without data; None if none is."""
    wrapper, _ = state_dict_of(case.plan)
    try:
        found = value_at(case.checkpoint.root, wrapper)
    except LookupError:
        return None
    return found if isinstance(found, nn.Module) else None


def subject_of_module(module: nn.Module, case: Case) -> Subject:
    """Return the subject for a pickled module.

    Raises:
        OptionError: If no input is found that it runs on.
    """
    wrapper, found = state_dict_of(case.plan)
    entry = entry_of(module, case.options.entry_point)
    # The file's tensors have no values yet; those of the copy stay without.
    empty: dict[int, Any] = {
        id(tensor): _without_values(tensor) for tensor in (*module.parameters(), *module.buffers())
    }
    model = copy.deepcopy(module, empty).eval()
    make_module, keys = made_by("the pickled module", model, case.checkpoint, found)
    models = (("meta", lambda: copy.deepcopy(model).to("meta")), ("cpu", make_module))
    channels = channels_of(model, decodes=entry == "decode")
    shape = case.options.input_shape or _shape(models, entry, channels, case)
    return Subject(
        name="pickled module",
        origin="pickled module",
        entry=entry,
        make_module=make_module,
        weights=weights_of(case.plan, wrapper, keys),
        make_inputs=lambda batch: inputs_of(model, entry, {}, (batch, *shape[1:])),
        takes_hooks=True,
    )


def subject_of_script(case: Case) -> Subject:
    """Return the subject for a TorchScript program.

    Raises:
        OptionError: If no input is found that it runs on, it has no such method, or was frozen.
        UnsupportedContainerError: If PyTorch cannot load it.
    """
    make_module = partial(_script, case.checkpoint.path)
    made = make_module()
    weights = _weights(case.plan, made)
    if not weights:
        raise OptionError(
            "smoke",
            "The program was frozen: its weights are constants of its code, in float32 for good.",
            remedy="Use smoke=layers, or send the program as it was before torch.jit.freeze.",
        )
    entry = entry_of(made, case.options.entry_point)
    models = (("meta", partial(_script, case.checkpoint.path, "meta")), ("cpu", make_module))
    channels = likeliest(_channels(case.plan, made), {}, decodes=entry == "decode")
    shape = case.options.input_shape or _shape(models, entry, channels, case)
    return Subject(
        name="torchscript",
        origin="torchscript",
        entry=entry,
        make_module=make_module,
        weights=weights,
        make_inputs=lambda batch: Inputs((normal((batch, *shape[1:])),), {}),
        takes_hooks=False,
    )


def subject_of_program(case: Case) -> Subject:
    """Return the subject for an exported program, which runs on its own example inputs.

    A program exported for a fixed batch size gets that batch size, whatever N is asked for.

    Raises:
        UnsupportedContainerError: If PyTorch cannot load it, or it has no example inputs.
    """
    program = _program(case.checkpoint.path)
    if program.example_inputs is None:
        raise UnsupportedContainerError("The program has no example inputs, so it cannot be run.")
    args, kwargs = copy.deepcopy(program.example_inputs)
    if case.options.input_shape and args:
        args = (normal(case.options.input_shape), *args[1:])
    batches = _batches(program)
    made = _module_of(program)
    return Subject(
        name="exported program",
        origin="exported program",
        entry="forward",
        make_module=lambda: _module_of(_program(case.checkpoint.path)),
        weights=_weights(case.plan, made),
        make_inputs=lambda batch: Inputs(
            tuple(_of_batch(each, batch, batches) for each in args),
            {name: _of_batch(each, batch, batches) for name, each in kwargs.items()},
        ),
        takes_hooks=False,
        batch=batches,
    )


def _without_values(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


def _run(entry: str, model: Any, shape: Shape, device: str) -> object:
    return call(model, entry, inputs_of(model, entry, {}, shape, device))


def _shape(
    models: Sequence[tuple[str, Callable[[], Any]]], entry: str, channels: Sequence[int], case: Case
) -> Shape:
    groups = candidates(channels, {})
    return find_shape(models, partial(_run, entry), groups, case.device, case.time_limit)


def _channels(plan: Plan, made: Any) -> list[int]:
    """Return the channels of a program's convolutions; of a flat one, if that is the first."""
    found = [
        d.original.shape[0]
        if d.candidate.kind == "ConvTranspose3d"
        else d.original.shape[1] * (d.candidate.groups or 1)
        for d in plan.decisions
    ]
    first = next((each for each in made.parameters() if each.dim() in {4, 5}), None)
    flat = [first.shape[1]] if first is not None and first.dim() == 4 else []
    return [*flat, *found]


def _script(path: Path, device: str = "cpu") -> Any:
    jit: Any = torch.jit  # whose functions are not annotated
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = jit.load(path, map_location=device).eval().float()
    except Exception as error:
        raise _unloadable(error) from error
    if any(each.layout != torch.strided for each in (*module.parameters(), *module.buffers())):
        raise OptionError(
            "smoke", "The program has sparse tensors, with which it cannot be run here."
        )
    if device == "cpu":
        _lay_out_plainly(module)
    return module


def _program(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except Exception as error:
        raise _unloadable(error) from error


def _module_of(program: Any) -> Any:
    """Return the module of an exported program; it has no training or eval mode to set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = program.module().float()
    _lay_out_plainly(module)
    return module


def _lay_out_plainly(module: Any) -> None:
    """Give every parameter contiguous strides, also if an extent is 1."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            plain = torch.empty(tensor.shape, dtype=tensor.dtype)
            if tensor.stride() != plain.stride():
                tensor.data = plain.copy_(tensor)


def _weights(plan: Plan, module: Any) -> dict[str, str]:
    there = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    keys = {decision.name: str(decision.candidate.path[-1]) for decision in plan.decisions}
    return {name: key for name, key in keys.items() if key in there}


def _batches(program: Any) -> int | None:
    """Return the batch size that a program was exported for; None if it takes any."""
    own = set(program.graph_signature.user_inputs)
    extents = [
        node.meta["val"].shape[0]
        for node in program.graph.nodes
        if node.op == "placeholder"
        and node.name in own
        and isinstance(node.meta.get("val"), torch.Tensor)
        and node.meta["val"].dim() > 0
    ]
    return extents[0] if extents and isinstance(extents[0], int) else None


def _of_batch(value: Any, batch: int, fixed: int | None) -> Any:
    """Return an example input for another batch size, if the program takes any."""
    if not isinstance(value, torch.Tensor):
        return copy.deepcopy(value)  # it may hold tensors, which the program may write to
    value = value.float() if value.is_floating_point() else value
    if fixed is None and value.dim() > 1:
        repeats = -(-batch // value.shape[0])
        value = value.repeat(repeats, *([1] * (value.dim() - 1)))[:batch]
    return value.clone(memory_format=torch.contiguous_format)


def _unloadable(error: Exception) -> UnsupportedContainerError:
    return UnsupportedContainerError(f"The program cannot be loaded: {words_of(error)}.")

"""Finding the model of a checkpoint: by its architecture, by a config, or in the file."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from convlast.architectures.building import Budget, blueprint
from convlast.architectures.calls import call, entry_of, inputs_of
from convlast.architectures.case import Case
from convlast.architectures.configs import Spec, spec_of_plans
from convlast.architectures.keywords import defaults_against_fetching, keywords_of, taken_by
from convlast.architectures.resolving import Builder, resolve
from convlast.architectures.runnable_files import (
    module_in,
    subject_of_module,
    subject_of_program,
    subject_of_script,
)
from convlast.architectures.search import find_shape
from convlast.architectures.sizes import Shape, candidates, channels_of
from convlast.architectures.state_dicts import (
    declarations_of,
    made_by,
    state_dict_of,
    weights_of,
)
from convlast.architectures.subject import Subject
from convlast.checkpoints.programs.torchscript import TorchScript
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.errors import OptionError


def find_subject(case: Case) -> Subject | None:
    """Find a model that can be run with the checkpoint's values.

    The option `architecture` comes first, then a model in the file itself, then a config beside the
    file, then plans in it. The values are read with the original strides, even after the plan has
    been applied to the checkpoint's tensors.

    Args:
        case: Its options `architecture`, `architecture_options`, `input_shape` and `entry_point`
            are used.

    Returns:
        The model; None if nothing describes it.

    Raises:
        ArchitectureError: If the name is not allowed, or the state dict does not fit.
        OptionError: If a package is missing, or the model cannot be built or run as asked.
    """
    checkpoint, options = case.checkpoint, case.options
    if isinstance(checkpoint, ZippedProgram):
        return _subject_in_program(case)
    if options.architecture is not None:
        asked = Spec(options.architecture, options.architecture_options, "architecture option")
        return _subject_of_spec(asked, case)
    if (module := module_in(case)) is not None:
        return subject_of_module(module, case)
    spec = case.spec or spec_of_plans(checkpoint.root)
    return _subject_of_spec(spec, case) if spec else None


def _subject_in_program(case: Case) -> Subject:
    if case.options.architecture is not None:
        raise OptionError(
            "architecture",
            "The file is a program, which contains its model.",
            remedy="Leave architecture out.",
        )
    if isinstance(case.checkpoint, TorchScript):
        return subject_of_script(case)
    return subject_of_program(case)


def _subject_of_spec(spec: Spec, case: Case) -> Subject:
    if spec.obstacle is not None:
        raise spec.obstacle
    builder = resolve(spec.name, case.prefixes)
    keywords = keywords_of(spec.options)
    wrapper, found = state_dict_of(case.plan)
    budget = Budget.beside(sum(tensor.numel() for tensor in found.values()), len(found))
    model = blueprint(spec.name, lambda: _build(builder, keywords, spec), budget)
    make_module, keys = made_by(spec.name, model, case.checkpoint, found)
    weights = weights_of(case.plan, wrapper, keys)
    case.declared.update(declarations_of(spec.name, model, weights))
    entry = entry_of(model, case.options.entry_point)
    said = {**_config_of(model), **spec.options}

    def run(made: Any, shape: Shape, device: str) -> object:
        return call(made, entry, inputs_of(made, entry, said, shape, device))

    inputs_of(model, entry, said, (1, 1, 1, 1, 1), "meta")  # raises if it cannot make them up
    shape: Shape | None = case.options.input_shape
    if shape is None:
        channels = channels_of(model, said, decodes=entry == "decode")
        models = (("meta", lambda: copy.deepcopy(model).to("meta")), ("cpu", make_module))
        shape = find_shape(models, run, candidates(channels, said), case.device, case.time_limit)
    extents = shape[1:]
    return Subject(
        name=spec.name,
        origin=spec.origin,
        entry=entry,
        make_module=make_module,
        weights=weights,
        make_inputs=lambda batch: inputs_of(model, entry, said, (batch, *extents)),
        takes_hooks=True,
    )


def _build(builder: Builder, keywords: Mapping[str, Any], spec: Spec) -> Any:
    """Call a class or function with its arguments; a transformers model takes a config."""
    configuration = getattr(builder, "config_class", None)
    if isinstance(configuration, type) and "config" in inspect.signature(builder).parameters:
        return builder(configuration(**keywords))
    taken = taken_by(builder, keywords) if spec.is_whole_config else keywords
    return builder(**{**defaults_against_fetching(builder), **taken})


def _config_of(model: nn.Module) -> dict[str, Any]:
    """Return the options that a model stores, including defaults."""
    config: Any = getattr(model, "config", None)
    if callable(getattr(config, "to_dict", None)):
        config = config.to_dict()
    return dict(config) if isinstance(config, Mapping) else {}

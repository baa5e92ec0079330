"""The names of a model's tensors, without the parts that wrappers insert.

Sources:
    https://github.com/pytorch/pytorch/blob/main/torch/distributed/checkpoint/state_dict.py
    https://github.com/huggingface/peft/blob/main/src/peft/tuners/tuners_utils.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

_WRAPPERS = frozenset(
    {
        "_orig_mod",  # torch.compile
        "_fsdp_wrapped_module",
        "_checkpoint_wrapped_module",
        "_fpw_module",  # FairScale
        "_forward_module",  # Lightning Fabric
        "_original_module",  # likewise
    }
)
"""Parts that no model has of its own."""

_LIKELY_WRAPPERS = frozenset(
    {
        "module",  # DataParallel, DistributedDataParallel, AveragedModel
        "_module",  # Opacus
        "base_layer",  # PEFT, around a layer with an adapter
        "original_module",  # PEFT, around a layer that is trained whole
    }
)
"""Parts that a wrapper inserts, but that a model may have of its own."""

_PEFT = ["base_model", "model"]
"""The two parts that PEFT puts before the names of the model."""

_MOST_PREFIXES = 16
"""No model is nested deeper in another one."""


def as_it_is(name: str) -> str:
    """Return the name."""
    return name


def unwrapped(name: str) -> str:
    """Return a name without the parts that only wrappers have.

    >>> unwrapped("module.encoder._orig_mod.0.weight")
    'module.encoder.0.weight'
    """
    *parts, last = name.split(".")
    return ".".join([*(part for part in parts if part not in _WRAPPERS), last])


def bare(name: str) -> str:
    """Return a name without any part that a wrapper may have inserted.

    >>> bare("module.encoder._orig_mod.0.base_layer.weight")
    'encoder.0.weight'
    >>> bare("base_model.model.0.weight")
    '0.weight'
    """
    *parts, last = name.split(".")
    kept: list[str] = []
    for part in parts:
        if part in _WRAPPERS or part in _LIKELY_WRAPPERS:
            continue
        kept.append(part)
        if kept[-2:] == _PEFT:
            del kept[-2:]
    return ".".join([*kept, last])


Form = Callable[[str], str]

FORMS: tuple[Form, ...] = (as_it_is, unwrapped, bare)
"""The forms in which names are compared, the most literal one first."""


def splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to take a name apart into a prefix and the rest.

    >>> list(splits("net.0.weight"))
    [('', 'net.0.weight'), ('net.', '0.weight'), ('net.0.', 'weight')]
    """
    yield "", name
    end = 0
    for _ in range(_MOST_PREFIXES):
        end = name.find(".", end) + 1
        if not end:
            return
        yield name[:end], name[end:]

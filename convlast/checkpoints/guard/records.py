"""Objects that hold attributes and nothing else: the arguments of a program, above all.

They are made without arguments and then given attributes, as modules of `torch.nn` are. The
attributes must be data: a function from the file, or one under the name of a method, would be code.
"""

from __future__ import annotations

import argparse
import types
import uuid
from collections.abc import Callable, Iterable, Iterator

from convlast.checkpoints.guard.modules import found_in
from convlast.checkpoints.guard.outlines import Dict, Global, Record
from convlast.checkpoints.guard.states import hides

CLASSES: dict[str, type] = {
    "argparse.Namespace": argparse.Namespace,
    "types.SimpleNamespace": types.SimpleNamespace,
    "uuid.UUID": uuid.UUID,
}
"""The classes, by their names in pickles."""

HOLDERS = (argparse.Namespace, types.SimpleNamespace)
"""Those whose attributes can be any values, tensors too."""

_OF_UUID = {"int", "is_safe"}


def misuses_of(
    records: Iterable[Record], is_constant: Callable[[Global], bool]
) -> Iterator[tuple[str, str]]:
    """Yield the class of each object that is given more than data, and what that is.

    Args:
        records: The objects.
        is_constant: Tells names that are never called, such as `torch.float16`, from others.
    """
    searched: set[int] = set()
    for record in records:
        if record.name == "uuid.UUID" and not _has_one_number(record):
            yield record.name, "no number, or more than one"
        for state in record.states:
            if not isinstance(state, Dict):
                yield record.name, "a state that is not a dict"
                continue
            for attribute, value in state.pairs:
                if not _fits(record.name, attribute, value):
                    yield record.name, f"the attribute {attribute!r:.80}"
            functions = found_in([value for _, value in state.pairs], (Global,), searched)
            if not all(isinstance(each, Global) and is_constant(each) for each in functions):
                yield record.name, "more than data"


def _has_one_number(identifier: Record) -> bool:
    """Say whether a UUID gets its number once.

    Its hash is that of the number: without it there is none, and after another is not found again.
    """
    match identifier.states:
        case [Dict(pairs=pairs)]:
            return any(attribute == "int" for attribute, _ in pairs)
    return False


def _fits(name: str, attribute: object, value: object) -> bool:
    if name == "uuid.UUID":
        return attribute in _OF_UUID and isinstance(value, int)
    return not hides(CLASSES[name], attribute)

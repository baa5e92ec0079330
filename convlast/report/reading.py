"""Reads a report that was written as JSON, by whoever and with whatever version."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from convlast.errors import OptionError
from convlast.report.document import Report
from convlast.report.sections import SCHEMA_VERSION, Finding, Layer, SchemaVersion

_MOST = 2**64
"""The largest integer that a report may have; a greater one may not even fit into a float."""

_VERSIONS = get_args(SchemaVersion)

_LATER = re.compile(r"1\.[0-9]{1,3}")
"""The versions of the schema that only add members."""


def read(text: bytes, *, option: str = "report", name: str = "The file") -> Report:
    """Read a report, which need not be one: all that is wrong with it is told.

    The problem with which a service refuses may have the report in it. A report of a later minor
    version is read without the members that are not known here, as one of this version.

    Args:
        text: The report as JSON, from a file, or as the service sends it.
        option: The argument that named the report, for the error.
        name: What to call the report in the message, such as its file.

    Raises:
        OptionError: If it is not a report, is damaged, or is of another version.
    """
    try:
        found = from_json(text, allow_inf_nan=False)
    except ValueError:
        raise OptionError(option, f"{name} is not JSON.", remedy="Give a report.json.") from None
    if isinstance(found, dict) and isinstance(found.get("report"), dict):
        found = found["report"]
    if not isinstance(found, dict) or "schema_version" not in found:
        raise OptionError(
            option, f"{name} is not a report of convlast.", remedy="Give a report.json."
        )
    version = found["schema_version"]
    if _is_later(version):
        found = _known(found, Report) | {"schema_version": SCHEMA_VERSION}
    elif version not in _VERSIONS:
        raise OptionError(
            option,
            f"{name} is a report of another version.",
            remedy=f"This version of convlast reads reports of schema {' and '.join(_VERSIONS)}.",
        )
    found.pop("links", None)  # the service adds it to its answer
    try:
        if _has_absurd_number(found):
            raise ValueError
        return Report.model_validate(found | _in_pieces(found))
    except (ValueError, OverflowError) as error:
        what, remedy = _fault_of(version)
        raise OptionError(option, f"{name} {what}{_place_of(error)}.", remedy=remedy) from None


def _is_later(version: object) -> bool:
    if version in _VERSIONS or not isinstance(version, str):
        return False
    return _LATER.fullmatch(version) is not None


def _fault_of(version: object) -> tuple[str, str]:
    """Say what is wrong with a report that does not fit, and what helps."""
    if _is_later(version):  # it may have a new word where this version knows a few
        said = f"is of a later version, {version}, and has what this one does not know"
        return said, "Update convlast."
    return "is a damaged report", "Make it anew."


def _known(found: Any, kind: type[BaseModel]) -> Any:
    """Leave out the members that a model does not have, in it and in the models inside."""
    if isinstance(found, list):
        return [_known(each, kind) for each in found]
    if not isinstance(found, dict):
        return found
    known = {name: each for name, each in found.items() if name in kind.model_fields}
    for name in known:
        inner = _model_in(kind.model_fields[name].annotation)
        if inner is not None:
            known[name] = _known(known[name], inner)
    return known


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in a type such as `list[Layer]` or `Smoke | None`, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _in_pieces(found: dict[str, Any]) -> dict[str, Any]:
    """Validate the long lists item by item: pydantic stops all other threads meanwhile.

    Raises:
        ValueError: If an item is not valid; its argument is the name of the list.
    """
    lists: dict[str, type[BaseModel]] = {"layers": Layer, "findings": Finding}
    validated = {}
    for name, kind in lists.items():
        if isinstance(found.get(name), list):
            try:
                validated[name] = [kind.model_validate(each) for each in found[name]]
            except ValidationError:
                raise ValueError(name) from None
    return validated


def _has_absurd_number(value: Any) -> bool:
    """Return whether some number is infinite, or an integer beyond 64 bits.

    >>> _has_absurd_number([1.5, {"a": True}]), _has_absurd_number({"a": [10**30]})
    (False, True)
    """
    values = [value]
    while values:
        each = values.pop()
        if isinstance(each, dict):
            values.extend(each.values())
        elif isinstance(each, list):
            values.extend(each)
        elif isinstance(each, int | float) and not _is_sane(each):
            return True
    return False


def _is_sane(number: float) -> bool:
    return abs(number) <= _MOST if isinstance(number, int) else math.isfinite(number)


def _place_of(error: Exception) -> str:
    """Name the member that is wrong, if it is one that a report has: others come from outside."""
    names: Sequence[object] = error.args
    if isinstance(error, ValidationError):
        names = error.errors(include_input=False, include_url=False)[0]["loc"]
    return f", in its member {names[0]}" if names and names[0] in Report.model_fields else ""

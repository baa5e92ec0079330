"""How the values of a comparison are written: single ones, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import JsonValue

from convlast.report.changes import FieldChange, Trend
from convlast.report.rendering import notation, summary, tables
from convlast.report.rendering.markup import Markup, element

MAX_CHARS = 600
"""The most characters of a value; the JSON has all."""

TREND_STATES: dict[Trend, summary.State] = {"better": "good", "worse": "caution", "same": "unknown"}

_PLAIN = {None: "–", True: "yes", False: "no"}


def value(field: str, found: JsonValue) -> str:
    """Write a value, in the way that suits its field.

    >>> value("artifact.bytes", 33_166_000), value("stride_after", [27, 1, 9, 3, 1])
    ('33.2 MB', '(27,1,9,3,1)')
    >>> value("proof", {"values": "identical", "tensors": 62}), value("groups", None)
    ('values identical, tensors 62', '–')
    """
    if found is None or isinstance(found, bool):
        return _PLAIN[found]
    if isinstance(found, str):
        return shortened(found)
    name = field.rpartition(".")[2]
    if isinstance(found, int) and name == "bytes":
        return notation.size(found)
    if isinstance(found, int):
        return f"{found:,}"
    if isinstance(found, list) and found and all(isinstance(each, int) for each in found):
        extents = [each for each in found if isinstance(each, int)]
        return notation.strides(extents) if "stride" in name else notation.shape(extents)
    if isinstance(found, list) and all(isinstance(each, str) for each in found):
        return shortened(", ".join(map(str, found)))
    if isinstance(found, dict) and not any(isinstance(each, dict) for each in found.values()):
        return shortened(", ".join(f"{key} {value(key, each)}" for key, each in found.items()))
    return shortened(json.dumps(found, ensure_ascii=False))


def shortened(text: str) -> str:
    """Cut a text that is too long to be read.

    >>> len(shortened("a" * 5000))
    601
    """
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}…"


def title(field: str) -> str:
    """Write the path of a field in words.

    >>> title("smoke.input_shape"), title("cudnn")
    ('smoke: input shape', 'cudnn')
    """
    return field.replace(".", ": ").replace("_", " ")


def lines(changes: Iterable[FieldChange]) -> list[Markup]:
    """Write each change in a line of its own, from the old value to the new one."""
    return [
        element(
            "div",
            f"{title(change.field)}: ",
            element("code", value(change.field, change.before)),
            " → ",
            element("code", value(change.field, change.after)),
        )
        for change in changes
    ]


def row(change: FieldChange) -> list[Markup]:
    """Write a change as a row: the field, the old value and the new one."""
    return [
        element("th", title(change.field), scope="row"),
        tables.cell(value(change.field, change.before)),
        tables.cell(value(change.field, change.after)),
    ]


def subject(name: str, *where: str | None) -> Markup:
    """Write the cell that names a row, with the file and the wrapper that it is in."""
    inside = [element("small", shortened(each)) for each in where if each]
    return element("th", element("code", shortened(name)), *inside, scope="row")

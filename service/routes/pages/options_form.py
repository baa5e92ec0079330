"""The options of a conversion as a form, made from their model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from convlast.options import Options
from convlast.report.rendering.markup import Markup, element

COMMON = ("memory_format", "select", "container", "dtype", "smoke")
"""The options that are always shown; the others are under "More options"."""


def render() -> Markup:
    """Return a field for each option; a field that is left alone means the default."""
    schemas = Options.model_json_schema()["properties"]
    shown = {name: schema for name, schema in schemas.items() if name in COMMON}
    others = {name: schema for name, schema in schemas.items() if name not in COMMON}
    more = element("summary", "More options"), element("div", *_fields(others), class_="fields")
    return Markup(
        element("div", *_fields(shown), class_="fields")
        + element("details", *more, id="more-options")
    )


def _fields(schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[Markup]:
    for name, schema in schemas.items():
        yield element(
            "div",
            element("label", name.replace("_", " ").capitalize(), for_=f"option-{name}"),
            _control(name, schema),
            element("p", *prose(schema.get("description", "")), class_="help", id=f"help-{name}"),
            class_="field",
        )


def _control(name: str, schema: Mapping[str, Any]) -> Markup:
    """Return a list for an option with few values, and a line of text for any other."""
    attributes = {"id": f"option-{name}", "name_": name, "aria_describedby": f"help-{name}"}
    default = schema.get("default")
    if "enum" in schema:
        values = [default, *(value for value in schema["enum"] if value != default)]
        return element("select", *(_choice(value, default) for value in values), **attributes)
    if schema.get("type") == "boolean":
        choices = (
            element("option", "no (default)", value=""),
            element("option", "yes", value="true"),
        )
        return element("select", *choices, **attributes)
    kinds = [each.get("type") for each in schema.get("anyOf", ())]
    attributes |= {"type": "text", "autocomplete": "off", "spellcheck": "false"}
    if "number" in kinds:
        attributes["inputmode"] = "decimal"
    if default:
        attributes["placeholder"] = ",".join(default) if isinstance(default, list) else str(default)
    return void("input", **attributes)


def _choice(value: str, default: object) -> Markup:
    """Return a choice; the default is sent as no value, so that it stays the service's own."""
    if value == default:
        return element("option", f"{value} (default)", value="")
    return element("option", value, value=value)


def void(name: str, **attributes: str) -> Markup:
    """Write an element that has no content and no end tag.

    >>> void("input", type="file")
    '<input type="file">'
    """
    return Markup(element(name, **attributes).removesuffix(f"</{name}>"))


def prose(text: str) -> Iterator[str]:
    """Mark up text between backticks as code.

    >>> list(prose("takes `all`"))
    ['takes ', '<code>all</code>', '']
    """
    for index, piece in enumerate(re.split(r"`([^`]*)`", " ".join(text.split()))):
        yield element("code", piece) if index % 2 else piece

"""The style and the script of the page, which its policy names by their digests."""

from __future__ import annotations

from importlib.resources import files

from convlast.report.rendering import assets

_PACKAGE = files("service.routes.pages")

PARTS = (
    "words",
    "requests",
    "key",
    "packing",
    "choosing",
    "uploads",
    "following",
    "frame",
    "options",
    "job",
    "jobs",
    "comparison",
    "start",
)
"""The parts of the script in `script/`, in order. They share one scope."""


def _text(*path: str) -> str:
    return _PACKAGE.joinpath(*path).read_text(encoding="utf-8")


STYLE = assets.THEME + _text("page.css")
SCRIPT = "\n".join(_text("script", f"{name}.js") for name in PARTS)

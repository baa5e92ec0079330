"""The servers of the tests of stores: real programs, in an environment of their own."""

from __future__ import annotations

from pathlib import Path

ENVIRONMENT = Path(__file__).parents[2] / ".venv" / "stores"
PROGRAMS = ("weed", "moto_server")


def program(name: str) -> Path:
    """Return where a program is, if it is installed."""
    return ENVIRONMENT / "bin" / name


def are_present() -> bool:
    """Return whether `make stores` has installed all of them."""
    return all(program(name).is_file() for name in PROGRAMS)

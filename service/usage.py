"""The command line of `python -m service`: help, the version and a check of the settings."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import NoReturn

from convlast.byte_size import readable
from convlast.options import Limits
from convlast.options.asked import closest
from convlast.version import __version__
from service.settings import LISTED, Settings, variable_of

PROGRAM = "python -m service"
USAGE_ERROR = 2
_WIDEST = 100

_ABOUT = """The HTTP service of convlast: it converts the Conv3d weights of PyTorch checkpoints to
channels_last_3d, and proves the result. All its settings are environment variables."""
_EXAMPLE = f"CONVLAST_PORT=9000 CONVLAST_DEVICE=cpu {PROGRAM}"
_CHECK = """check the settings, the keys, the work folder, the device and the sandbox, and do not
serve; the exit status is 2 if the service would not start or not become ready"""
_SIZES = "A size is a number of bytes, or has a unit: 512M, 4GB (decimal), 4GiB (binary)."


IN_WORDS = {
    "workers": "half the cores, 2 to 16",
    "memory_bytes": "80 % of the memory",
}
"""Defaults that depend on the machine."""


class _Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """End the program for an argument that argparse refuses."""
        _refuse(f"{message}. {LISTED}")


def asks_for_check(arguments: Sequence[str]) -> bool:
    """Return whether the arguments are `--check`; without any the service starts.

    `--help` and `--version` are answered here, and all others refused.

    Raises:
        SystemExit: If there is another argument.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST) - 2
    parser = _Parser(
        prog=PROGRAM,
        description=_filled(_ABOUT, width),
        epilog="\n".join(_settings(width)),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=width),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"convlast {__version__}")
    parser.add_argument("--check", action="store_true", help=" ".join(_CHECK.split()))
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        _refuse(f"there is no argument {unknown[0][:64]!r}. {_meant(unknown[0])}")
    return bool(known.check)


def greeting(settings: Settings, port: int) -> str:
    """Return what a person at a terminal wants to know of a service that listens.

    Args:
        settings: Its settings.
        port: The port, which the system may have chosen.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    needs_key = settings.api_keys_file is not None and not settings.allow_anonymous
    key = "-H 'Authorization: Bearer KEY' " if needs_key else ""
    upload = f"{key}-F checkpoint=@model.pt -o out.zip {url}/convert"
    return (
        f"convlast {__version__} listens on {url} (Ctrl+C ends it). In another terminal:\n"
        f"  curl -sS --fail-with-body {upload} || cat out.zip\n"
    )


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"{PROGRAM}: {message}\n")
    sys.exit(USAGE_ERROR)


def _meant(argument: str) -> str:
    """Say which setting an argument may stand for, such as `--port`."""
    name = argument.strip("-").partition("=")[0].replace("-", "_").lower()
    meant = closest(name.removeprefix("convlast_"), Settings.model_fields)
    return f"Set the environment variable {variable_of(meant)}." if meant else LISTED


def _settings(width: int) -> Iterator[str]:
    """Yield the lines of the help about each setting."""
    yield f"example:\n  {_EXAMPLE}\n"
    yield f"settings:\n{_filled(_SIZES, width, '  ')}"
    for variable, default, meaning in described():
        yield f"\n  {variable}" + (f" [default: {default}]" if default else "")
        yield _filled(meaning.replace("`", ""), width, "      ")


def _filled(text: str, width: int, indent: str = "") -> str:
    """Wrap a text; the names of variables are kept whole."""
    return textwrap.fill(
        " ".join(text.split()),
        max(width, len(indent) + 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def described() -> Iterator[tuple[str, str, str]]:
    """Yield the variable of each setting, its default (may be empty) and its meaning.

    The library's limits, which are changed least, come last.
    """
    fields = Settings.model_fields
    for name in sorted(fields, key=lambda name: name in Limits.model_fields):
        default = IN_WORDS.get(name) or _plain(name, fields[name].default)
        meaning = (fields[name].description or "").replace("\n", " ")
        yield variable_of(name), default, meaning


def _plain(name: str, default: object) -> str:
    """Write a default value; nothing for none."""
    if default in (None, ()):
        return ""
    if name == "work_dir":
        return "/var/tmp/convlast-<uid>"  # noqa: S108
    if name.endswith("_bytes") and isinstance(default, int):
        return readable(default)
    return str(default).lower() if isinstance(default, bool) else str(default)

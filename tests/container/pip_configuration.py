"""This machine's configuration of pip, as the secrets and arguments that a build may be given.

Folders of wheels are served on loopback, since a build does not see this machine's files.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

CANARY = f"canary-{secrets.token_hex(16)}"
"""Stands in the configuration as a comment, to be looked for where it must not be."""

_SCOPED = re.compile(r"(?:global|site|user|install|:env:)\.(.+)")
_REACHABLE: dict[str, Callable[[str], bool]] = {
    "extra-index-url": lambda index: not index.startswith("file:"),
    # All versions are pinned by the project's own constraints.
    "constraint": lambda place: "://" in place and not place.startswith("file:"),
}
"""Which values of an option a build can reach, for options that may name files."""

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@contextmanager
def build_secrets(folder: Path) -> Iterator[dict[str, str]]:
    """Write the secrets into a folder; give the variables that the compose file reads.

    The build of torch is the one that these tests run with. They are good while the context lasts.
    """
    options = _options()
    bundle = Path(options.pop("cert", "") or _CERTIFICATES)
    places = options.pop("find-links", "").split()
    with ExitStack() as serving:
        served = [
            serving.enter_context(_served(Path(place))) if Path(place).is_dir() else place
            for place in places
        ]
        if served:
            options["find-links"] = " ".join(served)
        build = metadata.version("torch").partition("+")[2]
        variables = {"PIP_CONF": str(folder / "pip.conf"), "TORCH_BUILD": build}
        if wheel := next((each for each in map(_torch_wheel, map(Path, places)) if each), None):
            variables["TORCH_SHA256"] = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if bundle.is_file():
            options["cert"] = "/run/secrets/ca_bundle"
            variables["CA_BUNDLE"] = str(bundle)
        lines = [f"{name} = {value}\n" for name, value in options.items()]
        conf = folder / "pip.conf"
        conf.touch(mode=0o600)
        conf.write_text("".join([f"# {CANARY}\n[global]\n", *lines]))
        yield variables


def _options() -> dict[str, str]:
    """Read what pip would use; what only this machine's files answer is left out."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    options: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        if scoped := _SCOPED.fullmatch(name):
            options[scoped[1]] = str(ast.literal_eval(value))
    for name, is_reachable in _REACHABLE.items():
        if kept := " ".join(filter(is_reachable, options.pop(name, "").split())):
            options[name] = kept
    return options


def _torch_wheel(folder: Path) -> Path | None:
    """Find the wheel of the torch that is installed."""
    return next(folder.glob(f"torch-{metadata.version('torch')}-*.whl"), None)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Say nothing."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; give its address."""
    handler = partial(_Quiet, directory=os.fspath(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()

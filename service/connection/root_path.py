"""The prefix below which a reverse proxy serves the service, such as `/convlast`."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.settings import SettingsError


class RootPath:
    """Middleware that accepts requests with and without the prefix.

    Some proxies pass the path on as it is, others take the prefix off, and probes never have it.
    The application sees the prefix in `path` and in `root_path`, as ASGI wants.

    Source: https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the prefix."""
        if scope["type"] == "http":
            path = self._root_path + bare(scope["path"], self._root_path)
            scope = {**scope, "path": path, "root_path": self._root_path}
        await self.app(scope, receive, send)


def bare(path: str, root_path: str) -> str:
    """Return a path without the prefix, if it has it.

    >>> [bare(path, "/convlast") for path in ("/convlast/jobs", "/jobs", "/convlast")]
    ['/jobs', '/jobs', '/']
    """
    if path == root_path:
        return "/"
    return path.removeprefix(root_path) if path.startswith(f"{root_path}/") else path


def check(root_path: str, paths: Iterable[str]) -> None:
    """Refuse a prefix that begins like a path of the service, or that has a part such as `..`.

    Args:
        root_path: The prefix.
        paths: The paths of the service.

    Raises:
        SettingsError: If a request could mean two things.
    """
    if {"", ".", ".."} & set(root_path.split("/")[1:]):
        raise SettingsError(
            f"CONVLAST_ROOT_PATH={root_path} has a bad value: each part needs a name."
        )
    first = root_path.split("/")[1] if root_path else ""
    if first and any(path.split("/")[1] == first for path in paths):
        raise SettingsError(
            f"CONVLAST_ROOT_PATH={root_path} has a bad value: /{first} is a path of the service "
            "itself. Name another, such as /convlast."
        )

"""A body in JSON, which names bytes that the service has instead of bringing them."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from convlast.byte_size import exact
from convlast.errors import OptionError
from convlast.options import Options, asked
from service.errors import MalformedRequestError, UploadTooLargeError, UploadTooSlowError

MAX_BYTES = 256 << 10
"""The longest body."""

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_MEMBERS = ("source", "filename", "options")


@dataclass(frozen=True)
class NamedSource:
    """A checkpoint that the service has, and what to do with it.

    Attributes:
        sha256: The digest of the checkpoint, in hexadecimal.
        filename: The client's name for it; none: the one that it had.
        options: The options.
    """

    sha256: str
    filename: str | None
    options: Options


async def read_named_source(request: Request, names: list[str], idle_s: float) -> NamedSource:
    """Read a body in JSON.

    Args:
        request: The request; its body must be unread.
        names: The options that are allowed.
        idle_s: Seconds that the body may take.

    Raises:
        MalformedRequestError: If it is not an object with these members.
        OptionError: If an option is not allowed, or has a bad value.
        UploadTooLargeError: If it is too long.
        UploadTooSlowError: If it takes too long.
        ClientDisconnect: If the client disconnects.
    """
    members = _parsed(await _body(request, idle_s))
    source, filename = members.get("source"), members.get("filename")
    if not isinstance(source, str) or not _DIGEST.fullmatch(source):
        raise MalformedRequestError(
            "The member source is not sha256: and 64 hexadecimal digits.",
            remedy="Name bytes that were uploaded before, or upload a file.",
        )
    if not isinstance(filename, str | None):
        raise MalformedRequestError("The member filename is not a text.")
    return NamedSource(source.removeprefix("sha256:"), filename, _options(members, names))


async def _body(request: Request, idle_s: float) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(idle_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise UploadTooLargeError(f"A body in JSON has at most {exact(MAX_BYTES)}.")
    except TimeoutError:
        raise UploadTooSlowError(
            f"The body took longer than {idle_s:g} s.", remedy="Raise CONVLAST_CLIENT_IDLE_S."
        ) from None
    return body


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        members = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise MalformedRequestError("The body is not JSON.") from None
    if not isinstance(members, dict):
        raise MalformedRequestError("The body is not a JSON object.")
    if unknown := [name for name in members if name not in _MEMBERS]:
        raise MalformedRequestError(
            f"The body has an unknown member {unknown[0][:80]!r}.",
            remedy=f"It may have {', '.join(_MEMBERS)}.",
        )
    return members


def _options(members: dict[str, Any], names: list[str]) -> Options:
    given = members.get("options", {})
    if not isinstance(given, dict):
        raise MalformedRequestError("The member options is not a JSON object.")
    for name in given:
        if name not in names:
            raise asked.unknown(name, names)
    try:
        return Options.parse(**given)
    except OverflowError:  # a number beyond what a float can hold
        raise OptionError("options", "An option is too large a number.") from None

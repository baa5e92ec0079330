"""A body in JSON, which names a checkpoint instead of bringing it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from convlast.byte_size import exact
from convlast.errors import OptionError
from convlast.jobs import JobVerb
from convlast.options import Options, asked
from convlast.stores.address import is_address
from service.errors import MalformedRequestError, UploadTooLargeError, UploadTooSlowError

MAX_BYTES = 256 << 10
"""The longest body."""

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_MEMBERS: dict[JobVerb, tuple[str, ...]] = {
    "convert": ("source", "target", "statement", "filename", "options"),
    "inspect": ("source", "filename", "options"),
}


@dataclass(frozen=True)
class NamedSource:
    """A checkpoint that the service has, or that is in a store, and what to do with it.

    Attributes:
        sha256: The digest of the checkpoint, in hexadecimal, if the service has it.
        address: Its address, if it is in a store.
        target: The address of a folder that gets the results, if there is one.
        statement: Whether it also gets the statement on the artifact.
        filename: The client's name for it; none: the one that it had.
        options: The options.
    """

    sha256: str | None
    address: str | None
    target: str | None
    statement: bool
    filename: str | None
    options: Options


async def read_named_source(
    request: Request, verb: JobVerb, names: list[str], idle_s: float
) -> NamedSource:
    """Read a body in JSON.

    Args:
        request: The request; its body must be unread.
        verb: What is asked for.
        names: The options that are allowed.
        idle_s: Seconds that the body may take.

    Raises:
        MalformedRequestError: If it is not an object with these members.
        OptionError: If an option is not allowed, or has a bad value.
        UploadTooLargeError: If it is too long.
        UploadTooSlowError: If it takes too long.
        ClientDisconnect: If the client disconnects.
    """
    members = _parsed(await _body(request, idle_s), _MEMBERS[verb])
    source = members.get("source")
    if not isinstance(source, str) or not (_DIGEST.fullmatch(source) or is_address(source)):
        raise MalformedRequestError(
            "The member source is neither sha256: and 64 hexadecimal digits, nor an address.",
            remedy="Name bytes that were uploaded before, or an address such as s3://bucket/m.pt.",
        )
    for name in ("target", "filename"):
        if not isinstance(members.get(name), str | None):
            raise MalformedRequestError(f"The member {name} is not a text.")
    statement = members.get("statement", False)
    if not isinstance(statement, bool):
        raise MalformedRequestError("The member statement is not true or false.")
    if statement and members.get("target") is None:
        raise MalformedRequestError(
            "The member statement needs a target, which gets the statement.",
            remedy="Without a target, GET /jobs/{id}/provenance has it.",
        )
    is_in_store = is_address(source)
    return NamedSource(
        sha256=None if is_in_store else source.removeprefix("sha256:"),
        address=source if is_in_store else None,
        target=members.get("target"),
        statement=statement,
        filename=members.get("filename"),
        options=_options(members, names),
    )


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


def _parsed(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        members = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise MalformedRequestError("The body is not JSON.") from None
    if not isinstance(members, dict):
        raise MalformedRequestError("The body is not a JSON object.")
    if unknown := [name for name in members if name not in names]:
        raise MalformedRequestError(
            f"The body has an unknown member {unknown[0][:80]!r}.",
            remedy=f"It may have {', '.join(names)}.",
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

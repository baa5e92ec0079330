"""The checkpoint of a request, and what to do with it: uploaded now or earlier, or in a store."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace

from starlette.requests import Request

from convlast.errors import OptionError
from convlast.jobs import JobVerb
from convlast.options import Options, asked
from convlast.options.keywords import INSPECTED
from service.context import Caller, Context
from service.errors import NotFoundError
from service.headers.filenames import sanitise
from service.headers.negotiation import JSON
from service.jobs.submission import Source
from service.storage.workspace import JobFolder
from service.transfers.delivering import Delivering
from service.uploads.named_source import NamedSource, read_named_source
from service.uploads.receiving import receive
from service.uploads.upload_headers import RAW, media_type_of

_FILENAME = "filename"

OPTION_NAMES: dict[JobVerb, list[str]] = {
    "convert": list(Options.model_fields),
    "inspect": list(INSPECTED),
}
"""The options that each verb takes."""


async def receive_source(
    request: Request,
    context: Context,
    caller: Caller,
    verb: JobVerb,
    folder: JobFolder,
    held: ExitStack,
) -> Source:
    """Return the checkpoint that a request brings or names.

    Args:
        request: The request; its body must be unread.
        context: The parts of the service.
        caller: The client.
        verb: What is asked for.
        folder: The folder for the upload.
        held: Holds a checkpoint that is named until it is left.

    Raises:
        ConvlastError: If the request is refused.
        OSError: If the checkpoint cannot be written.
        ClientDisconnect: If the client disconnects.
    """
    names, settings = OPTION_NAMES[verb], context.settings
    if media_type_of(request.headers) == JSON:
        check_query(request, [])
        named = await read_named_source(request, verb, names, settings.client_idle_s)
        source = await _source_of(named, context, caller, folder, held)
        if named.target is not None:
            target = await _checked(named.target, source, context.transfers.delivering)
            source = replace(source, target=target, statement=named.statement)
        folder.take(source.bytes)
        return source
    query = check_query(request, names)
    upload = await receive(request, folder, names, settings)
    given = request.query_params.get(_FILENAME)
    return Source(
        filename=sanitise(given) if given else upload.filename or sanitise(""),
        sha256=upload.sha256,
        bytes=upload.bytes,
        options=Options.parse(**_collect([*query, *upload.fields])),
    )


async def _source_of(
    named: NamedSource, context: Context, caller: Caller, folder: JobFolder, held: ExitStack
) -> Source:
    """Return a checkpoint that is kept of an earlier job, or that is in a store.

    Raises:
        ConvlastError: If it is not there, or may not be used.
    """
    given = sanitise(named.filename) if named.filename else None
    if named.sha256 is not None:
        is_held, jobs = True, context.jobs
        try:
            earlier = held.enter_context(jobs.table.held_input(caller.owner, named.sha256))
        except NotFoundError:
            earlier = await jobs.bring_input(caller.owner, named.sha256, folder.upload)
            is_held = False
        filename = given or earlier.filename
        return Source(filename, named.sha256, earlier.bytes, named.options, is_held=is_held)
    found = await context.transfers.fetching.look(named.address or "")
    filename = given or sanitise(found.address.name or found.address.root)
    return Source(filename, "", found.bytes, named.options, found=found)


async def _checked(target: str, source: Source, delivering: Delivering) -> str:
    """Return the address of a target in its usual form.

    Raises:
        StoreError: If it is not allowed, or cannot hold what is made of the source.
    """
    if source.found is not None and source.found.address.is_folder:
        return await delivering.check_folder(target, source.found)
    return delivering.check(target, source.filename)


def check_query(request: Request, names: list[str]) -> list[tuple[str, str]]:
    """Return the options in the query, and refuse bad ones before the body is read.

    Raises:
        OptionError: If one is unknown, or has a bad value.
    """
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] != _FILENAME]
    for name, _ in pairs:
        if name not in names:
            raise asked.unknown(name, [_FILENAME, *names])
    # A form may have further options in its fields; a raw body has none.
    if media_type_of(request.headers) == RAW:
        Options.parse(**_collect(pairs))
    return pairs


def _collect(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Collect the values of each option; an empty value, as forms send it, counts as not given."""
    values: dict[str, object] = {}
    for name, value in pairs:
        if not value.strip():
            continue
        if name == "select":
            patterns = [part.strip() for part in value.split(",")]
            values.setdefault(name, []).extend(patterns)  # type: ignore[attr-defined]  # a list
        elif values.get(name, value) != value:
            raise OptionError(name, f"Option {name} is given twice, with different values.")
        else:
            values[name] = value
    return values

"""The checkpoint of a request, uploaded now or earlier."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from convlast.errors import OptionError, StorageFullError
from service.context import Caller, Context
from service.errors import NotFoundError
from service.jobs.submission import Source
from service.uploads.sources import receive_source
from tests.service.jobs.boards import FakeWorkers, ended, in_loop
from tests.service.jobs.sending import Sender, applied
from tests.service.uploads.test_requested import asks

ALICE, BOB = Caller("alice", "alice"), Caller("bob", "bob")


async def source_of(
    context: Context, sender: Sender, held: ExitStack, caller: Caller = ALICE
) -> Source:
    """Receive the source of a request for a conversion."""
    folder = context.workspace.new_job()
    held.callback(folder.remove)
    return await receive_source(sender.request, context, caller, "convert", folder, held)


@in_loop
async def test_an_upload_is_a_source(tmp_path: Path) -> None:
    """Its name and options come from the query, and its name is made safe."""
    async with applied(tmp_path, FakeWorkers()) as context:
        with ExitStack() as held:
            sender = Sender(query="filename=../a%2Fm.pt&dtype=float16&select=a*,b&smoke=")
            source = await source_of(context, sender, held)
            assert (source.filename, source.bytes, source.is_held) == ("m.pt", 10, False)
            assert (source.options.dtype, source.options.select) == ("float16", ("a*", "b"))
            assert context.workspace.quota.taken_bytes == 20
        with ExitStack() as held:
            assert (await source_of(context, Sender(), held)).filename == "checkpoint"


@pytest.mark.parametrize(
    "query", ["dtype=float4", "unknown=1", "dtype=float16&dtype=keep", "smoke_seconds=soon"]
)
@in_loop
async def test_a_bad_query_is_refused_before_the_body_is_read(tmp_path: Path, query: str) -> None:
    """The client need not send gigabytes to hear of a typing error."""
    async with applied(tmp_path, FakeWorkers()) as context:
        sender = Sender(query=query)
        with ExitStack() as held, pytest.raises(OptionError):
            await source_of(context, sender, held)
        assert (await sender.receive())["body"] == b"checkpoint"


@in_loop
async def test_bytes_of_an_earlier_job_are_a_source(tmp_path: Path) -> None:
    """They are held while the request is read, though their job is removed meanwhile."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True)) as context:
        requested = await asks(context, Sender(query="filename=m.pt", prefer="wait=20"))
        entry = await ended(requested.entry)
        members = {"source": f"sha256:{entry.accepted.sha256}"}
        with ExitStack() as held:
            source = await source_of(context, Sender.of_json(members), held)
            assert (source.filename, source.bytes, source.is_held) == ("m.pt", 10, True)
            assert context.workspace.quota.taken_bytes == 20
            await context.jobs.table.remove(entry)
            assert context.workspace.inputs.path(entry.input_key).is_file()
        assert list((tmp_path / "inputs").iterdir()) == []
        assert context.workspace.quota.taken_bytes == 0


@in_loop
async def test_a_request_may_give_the_bytes_another_name(tmp_path: Path) -> None:
    """The name is made safe as that of an upload is."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True)) as context:
        entry = (await asks(context, Sender(prefer="wait=20"))).entry
        members = {"source": f"sha256:{entry.accepted.sha256}", "filename": "../n.pt"}
        with ExitStack() as held:
            assert (await source_of(context, Sender.of_json(members), held)).filename == "n.pt"


@in_loop
async def test_bytes_of_others_are_unknown(tmp_path: Path) -> None:
    """They are refused as bytes are that nobody has sent."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True)) as context:
        entry = (await asks(context, Sender(prefer="wait=20"))).entry
        refusals = []
        for caller, sha256 in [(BOB, entry.accepted.sha256), (ALICE, "00" * 32)]:
            sender = Sender.of_json({"source": f"sha256:{sha256}"})
            with ExitStack() as held, pytest.raises(NotFoundError) as caught:
                await source_of(context, sender, held, caller)
            refusals.append(str(caught.value))
        assert refusals[0] == refusals[1]
        assert "Upload them" in refusals[0]


@in_loop
async def test_options_of_json_stand_in_the_body(tmp_path: Path) -> None:
    """An option in the query is refused, since it would be overlooked."""
    async with applied(tmp_path, FakeWorkers()) as context:
        sender = Sender(b"{}", content_type="application/json", query="dtype=float16")
        with ExitStack() as held, pytest.raises(OptionError):
            await source_of(context, sender, held)


@in_loop
async def test_named_bytes_count_in_the_quota(tmp_path: Path) -> None:
    """A job that uploads nothing needs room for its artifact all the same."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True), work_bytes=30) as context:
        entry = (await asks(context, Sender(prefer="wait=20"))).entry
        context.workspace.quota.take(10)
        sender = Sender.of_json({"source": f"sha256:{entry.accepted.sha256}"})
        with ExitStack() as held, pytest.raises(StorageFullError):
            await source_of(context, sender, held)

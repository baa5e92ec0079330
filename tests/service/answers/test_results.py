"""The result of a job in each media type."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from service.answers.kinds import OFFERS
from service.answers.results import answer
from service.context import Caller, Context
from service.errors import NotFoundError
from service.headers.negotiation import JSON, OCTET_STREAM, ZIP
from service.headers.preferences import Preference
from service.jobs.records import ARTIFACT, PROVENANCE_JSON
from service.uploads.requested import Requested, Wanted, request_job
from service.workers import REPORT_HTML, REPORT_JSON
from tests.service.jobs.boards import FakeWorkers, artifact_of, in_loop, path_of
from tests.service.jobs.sending import Sender, applied

NAME = "m.channels_last_3d.pt"


async def result(context: Context, sender: Sender, *, kept: bool) -> Requested:
    """Let a job succeed."""
    wanted = Wanted("convert", Preference(), is_kept=kept)
    return await request_job(sender.request, context, Caller("alice", "alice"), wanted)


async def sent(
    media_type: str, requested: Requested, sender: Sender, context: Context
) -> tuple[dict[str, str], bytes]:
    """Return the fields and the body of an answer."""
    response = await answer([media_type], requested, sender.request, context)
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    await response(sender.scope, sender.receive, send)
    raw: list[tuple[bytes, bytes]] = messages[0]["headers"]
    headers = {name.decode(): value.decode("latin-1") for name, value in raw}
    body = b"".join(message["body"] for message in messages[1:])
    assert headers["content-length"] == str(len(body))
    return headers, body


@in_loop
async def test_a_zip_has_all_files_and_stores_nothing(tmp_path: Path) -> None:
    """Its members have the client's names, and the work folder is empty afterwards."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True)) as context:
        sender = Sender(query="filename=m.pt")
        requested = await result(context, sender, kept=False)
        headers, body = await sent(ZIP, requested, sender, context)
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.testzip() is None
            assert set(archive.namelist()) == {NAME, REPORT_JSON, REPORT_HTML, PROVENANCE_JSON}
            assert archive.read(NAME) == artifact_of(b"checkpoint")
        assert f"{NAME}.zip" in headers["content-disposition"]
        assert headers["vary"] == "Accept"
        assert headers["convlast-job"] == requested.entry.id
        assert not any(list((tmp_path / name).iterdir()) for name in ("jobs", "store", "inputs"))


@in_loop
async def test_a_report_links_to_the_stored_files(tmp_path: Path) -> None:
    """Links stand below the root path, and only where the files are stored."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True)) as context:
        sender = Sender(root_path="/prefix")
        requested = await result(context, sender, kept=True)
        headers, body = await sent(JSON, requested, sender, context)
        told = json.loads(body)
        own = f"/prefix/jobs/{requested.entry.id}"
        assert told["links"]["artifact"] == f"{own}/artifact"
        assert headers["content-location"] == told["links"]["report"] == f"{own}/report"
        passing = Sender(b"other")
        requested = await result(context, passing, kept=False)
        headers, body = await sent(JSON, requested, passing, context)
        assert "links" not in json.loads(body)
        assert "content-location" not in headers


@in_loop
async def test_an_artifact_has_its_name_and_digest(tmp_path: Path) -> None:
    """The fields let a client check it, and find its report."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True)) as context:
        sender = Sender(query="filename=m.pt")
        requested = await result(context, sender, kept=True)
        headers, body = await sent(OCTET_STREAM, requested, sender, context)
        assert body == artifact_of(b"checkpoint")
        assert headers["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'
        assert headers["repr-digest"].startswith("sha-256=:")
        assert NAME in headers["content-disposition"]
        assert f"</jobs/{requested.entry.id}/report>" in headers["link"]


@pytest.mark.parametrize("media_type", OFFERS)
@in_loop
async def test_a_result_that_is_gone_is_not_found(tmp_path: Path, media_type: str) -> None:
    """No descriptor stays open, and what was not stored is removed all the same."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True)) as context:
        sender = Sender()
        requested = await result(context, sender, kept=False)
        for name in (REPORT_JSON, REPORT_HTML, ARTIFACT):
            path_of(requested.entry, name).unlink()
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a count
        with pytest.raises(NotFoundError):
            await answer([media_type], requested, sender.request, context)
        assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208  # a count
        assert not list((tmp_path / "jobs").iterdir())


@in_loop
async def test_a_full_store_keeps_a_result_until_its_client_has_it(tmp_path: Path) -> None:
    """A job that has to go is removed with the first sweep after its answer, and not before."""
    async with applied(tmp_path, FakeWorkers(is_prompt=True), store_bytes=4_000) as context:
        sender, other = Sender(), Sender(b"other")
        requested = await result(context, sender, kept=True)
        later = await result(context, other, kept=True)
        assert later.entry.task
        await later.entry.task
        await context.jobs.table.sweep()
        _, body = await sent(OCTET_STREAM, requested, sender, context)
        assert body == artifact_of(b"checkpoint")
        await context.jobs.table.sweep()
        assert list(context.jobs.table) == [later.entry]
        await sent(OCTET_STREAM, later, other, context)


@in_loop
async def test_a_link_is_never_sent(tmp_path: Path) -> None:
    """If a worker has put a link in a file's place, there is no such file."""
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    async with applied(tmp_path / "work", FakeWorkers(is_prompt=True)) as context:
        sender = Sender()
        requested: Any = await result(context, sender, kept=False)
        path = path_of(requested.entry, ARTIFACT)
        path.unlink()
        path.symlink_to(secret)
        with pytest.raises(NotFoundError):
            await answer([OCTET_STREAM], requested, sender.request, context)

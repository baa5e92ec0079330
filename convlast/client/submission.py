"""Submits a job: names an address, or sends a file, if the service does not have its bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convlast.client.answers import JSON, read_job
from convlast.client.connection import Ask, Connection
from convlast.client.patience import Patience
from convlast.client.refusals import RefusedError
from convlast.client.upload import Upload, digest_field, digest_of
from convlast.jobs import JobStatus, JobVerb
from convlast.options import Options, keywords
from convlast.progress import Progress

INSPECTED = frozenset(keywords.INSPECTED)
"""The options that an inspection takes."""

_ACCEPTED = frozenset({202})
_LATER = {"Prefer": "respond-async", "Accept": JSON}


class Submission:
    """A request for a job."""

    def __init__(self, connection: Connection, verb: JobVerb, path: Path, options: Options) -> None:
        self._connection, self._verb, self._path = connection, verb, path
        self._options = given(options, verb)

    async def send(self, patience: Patience, progress: Progress) -> JobStatus:
        """Send the request until the service has accepted the job, and return it.

        Each attempt first asks whether the service has the bytes, so an upload whose answer was
        lost is not repeated.

        Args:
            patience: Bounds the attempts.
            progress: Called as `progress("upload", done, total)`.

        Raises:
            RemoteError: If the service refuses, or does not answer.
            OSError: If the file cannot be read.
        """
        sha256 = await digest_of(self._path)
        nbytes = _size_of(self._path)
        begun = False

        def told(done: int) -> None:
            nonlocal begun
            begun = True
            progress("upload", done, nbytes)

        while True:
            try:
                job = await self._asked(sha256)
                if job is None:
                    job = await self._uploaded(sha256, Upload(self._path, nbytes, told))
            except RefusedError as refused:
                await patience.endure(refused.refusal)
            else:
                if begun:
                    progress("upload", nbytes, nbytes)
                return job

    async def _asked(self, sha256: str) -> JobStatus | None:
        """Ask for the job without its bytes; return None if the service needs them."""
        names = {"source": f"sha256:{sha256}", "filename": self._path.name}
        ask = ask_for(self._verb, names, self._options)
        try:
            return await self._connection.once(ask, read_job)
        except RefusedError as refused:
            if refused.refusal.problem_code == "not-found":
                return None
            raise

    async def _uploaded(self, sha256: str, upload: Upload) -> JobStatus:
        """Ask for the job with its bytes."""
        headers = {
            **_LATER,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(upload.nbytes),
            "Content-Digest": digest_field(sha256),
        }
        ask = Ask(
            "POST",
            self._verb,
            params={**parameters(self._options), "filename": self._path.name},
            headers=headers,
            content=upload,
            expected=_ACCEPTED,
        )
        return await self._connection.once(ask, read_job)


def ask_for(verb: JobVerb, names: dict[str, str], options: Options) -> Ask:
    """Return the request for a job whose checkpoint is named, and not sent.

    Args:
        verb: What is asked for.
        names: The source, and perhaps the target.
        options: The options.
    """
    body = {**names, "options": given(options, verb).model_dump(mode="json", exclude_defaults=True)}
    return Ask(
        "POST",
        verb,
        headers={**_LATER, "Content-Type": JSON},
        content=json.dumps(body).encode(),
        expected=_ACCEPTED,
    )


def given(options: Options, verb: JobVerb) -> Options:
    """Return the options that a verb takes; the others are left at their defaults."""
    if verb == "convert":
        return options
    return Options(**{name: getattr(options, name) for name in INSPECTED})


def parameters(options: Options) -> dict[str, Any]:
    """Return the options that differ from their defaults, as query parameters."""
    values = options.model_dump(mode="json", exclude_defaults=True)
    if options.architecture_options:
        values["architecture_options"] = json.dumps(options.architecture_options)
    if options.input_shape:
        values["input_shape"] = ",".join(map(str, options.input_shape))
    return values


def _size_of(path: Path) -> int:
    return path.stat().st_size

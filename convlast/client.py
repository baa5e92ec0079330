"""A client of the service: the library's verbs, carried out by a service.

Files are uploaded and downloaded as streams, with their digests. A request is retried only if that
is safe: if the service has not accepted it (no connection, a full queue), or if a download broke
off, which then continues where it stopped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import TracebackType
from typing import IO, Any, Self

import httpx
from pydantic import ValidationError

from convlast.bytes.digest import sha256_of
from convlast.errors import OptionError, RemoteError, VerificationError
from convlast.options import Options
from convlast.progress import Progress, silent
from convlast.report import Report
from convlast.writing.naming import OF_FOLDERS, converted_folder_name, converted_name
from convlast.writing.target import place_of
from convlast.writing.workplace import refuse_same_file, workplace_beside

_OPTIONS = Options()
_CHUNK_BYTES = 1 << 20
_RETRIED = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}
_LONGEST_WAIT_S = 60.0


class Client:
    """A connection to one service.

    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     report = client.convert("model.pt", "model.channels_last_3d.pt")
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = 900.0,
        attempts: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: The address of the service, e.g. `http://127.0.0.1:8000`.
            key: The bearer key, if the service needs one.
            timeout_s: How long to wait for an answer, including the conversion.
            attempts: How many times to try a request that can be retried.
            transport: Carries the requests; only tests replace it.

        Raises:
            OptionError: If the address is not an HTTP address.
        """
        if not url.startswith(("http://", "https://")):
            raise OptionError(
                "server",
                f"{url[:80]!r} is not the address of a service.",
                remedy="It is like http://127.0.0.1:8000.",
            )
        self._attempts = attempts
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def convert(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        options: Options = _OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Have the service convert a checkpoint, and write the artifact, whole or not at all.

        Args:
            source: The checkpoint.
            target: The file to write, or the folder for it.
            options: What to convert, and how.
            progress: Called as `progress(stage, done, total)`, with `upload` and `download`.

        Returns:
            The service's report.

        Raises:
            OptionError: If the artifact would replace the checkpoint, or cannot be written there.
            StorageFullError: If there is no room for the artifact.
            VerificationError: If the proof failed; the error has the report.
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        advance = progress or silent
        path, place = Path(source), place_of(Path(target))
        refuse_same_file(path, place)
        answer = self._post("convert", path, _parameters(options), advance)
        link: str = answer.pop("links")["artifact"]
        report = _report_of(answer)
        if report.artifact is None:
            raise RemoteError("internal", "The service answered without an artifact.")
        if place.is_dir():
            place = place_of(place / _name_for(path.name, options, report))
            refuse_same_file(path, place)
        named = _named(report, place.name)
        with workplace_beside(place) as folder:
            made = folder / place.name
            with made.open("w+b") as file:
                self._fetch(link, file, report, advance)
            made.replace(place)
        return named

    def inspect(
        self,
        source: str | os.PathLike[str],
        options: Options = _OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Have the service report on a checkpoint, without converting it.

        Args:
            source: The checkpoint.
            options: What a conversion would be asked for; `convlast.options.INSPECTION_OPTIONS`
                names those that count.
            progress: Called as `progress(stage, done, total)`, with `upload`.

        Raises:
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        return _report_of(
            self._post("inspect", Path(source), _parameters(options), progress or silent)
        )

    def _post(
        self, verb: str, path: Path, parameters: dict[str, Any], progress: Progress
    ) -> dict[str, Any]:
        """Send a file, and return the JSON of the response."""
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(path.stat().st_size),
            "Content-Digest": f"sha-256=:{_base64_of(sha256_of(path))}:",
        }
        for attempt in range(1, self._attempts + 1):
            try:
                response = self._http.post(
                    verb,
                    params={**parameters, "filename": path.name},
                    headers=headers,
                    content=_pieces(path, progress),
                )
            except httpx.ConnectError as error:
                if attempt == self._attempts:
                    raise _unreachable(error) from error
                time.sleep(_wait_s(None, attempt))
                continue
            except httpx.TransportError as error:
                raise _unreachable(error) from error
            if response.status_code not in _RETRIED or attempt == self._attempts:
                break
            time.sleep(_wait_s(response.headers.get("Retry-After"), attempt))
        _raise_problem(response)
        body: dict[str, Any] = response.json()
        return body

    def _fetch(self, link: str, file: IO[bytes], report: Report, progress: Progress) -> None:
        """Fetch an artifact, continuing a download that broke off, and check its digest."""
        assert report.artifact is not None  # noqa: S101  # the caller has checked; for mypy
        wanted = report.artifact
        for attempt in range(1, self._attempts + 1):
            try:
                self._fetch_rest(link, file, wanted.bytes, wanted.sha256, progress)
                break
            except httpx.TransportError as error:
                if attempt == self._attempts:
                    raise _unreachable(error) from error
                time.sleep(_wait_s(None, attempt))
        file.flush()
        file.seek(0)
        if hashlib.file_digest(file, "sha256").hexdigest() != wanted.sha256:  # type: ignore[arg-type]  # a raw file
            raise RemoteError("digest-mismatch", "The artifact was damaged on the way.")

    def _fetch_rest(
        self, link: str, file: IO[bytes], total: int, sha256: str, progress: Progress
    ) -> None:
        done = file.tell()
        headers = {"Range": f"bytes={done}-", "If-Range": f'"{sha256}"'} if done else {}
        with self._http.stream("GET", link, headers=headers) as response:
            if response.is_error:
                response.read()
            _raise_problem(response)
            if response.status_code != httpx.codes.PARTIAL_CONTENT:
                done = 0
                file.seek(0)
                file.truncate()
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                progress("download", done, total)


def _named(report: Report, filename: str) -> Report:
    """Return a report in which the artifact has the name that it got here."""
    artifact, advice = report.artifact, report.advice
    if artifact is None or artifact.filename == filename:
        return report
    if advice is not None:
        load = advice.load.replace(repr(artifact.filename), repr(filename))
        advice = advice.model_copy(update={"load": load})
    artifact = artifact.model_copy(update={"filename": filename})
    return report.model_copy(update={"artifact": artifact, "advice": advice})


def _name_for(filename: str, options: Options, report: Report) -> str:
    """Return the artifact's name: the service tells no more of it than another extension."""
    given, made, memory_format = report.input, report.artifact, options.memory_format
    if given.container in OF_FOLDERS or made is None:
        return converted_folder_name(filename, memory_format, given.container)
    extension = PurePath(made.filename).suffix
    if extension == PurePath(given.filename).suffix:
        extension = PurePath(filename).suffix
    return converted_name(filename, memory_format, extension)


def _parameters(options: Options) -> dict[str, Any]:
    """Return the options that differ from their defaults, as query parameters."""
    values = options.model_dump(mode="json", exclude_defaults=True)
    if options.architecture_options:
        values["architecture_options"] = json.dumps(options.architecture_options)
    if options.input_shape:
        values["input_shape"] = ",".join(map(str, options.input_shape))
    return values


def _pieces(path: Path, progress: Progress) -> Iterator[bytes]:
    total = path.stat().st_size
    done = 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            yield piece
            done += len(piece)
            progress("upload", done, total)


def _base64_of(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _report_of(body: dict[str, Any]) -> Report:
    try:
        return Report.model_validate(body)
    except ValidationError as error:
        raise RemoteError(
            "internal", "The service's report is of another version than this client."
        ) from error


def _raise_problem(response: httpx.Response) -> None:
    """Raise the error that a problem document describes."""
    if not response.is_error:
        return
    try:
        problem: dict[str, Any] = response.json()
    except ValueError:
        problem = {}
    code = str(problem.get("code", "internal"))
    detail = str(problem.get("detail", f"The service answered {response.status_code}."))
    if code == "verification-failed" and "report" in problem:
        raise VerificationError(detail, report=_report_of(problem["report"]))
    raise RemoteError(code, detail)


def _unreachable(error: httpx.TransportError) -> RemoteError:
    return RemoteError("not-ready", f"The service does not answer: {error}.")


def _wait_s(retry_after: str | None, attempt: int) -> float:
    """Return how long to wait: as long as the service says, or else longer each time.

    >>> _wait_s("3", 1), _wait_s(None, 3), _wait_s("²", 1)
    (3.0, 2.0, 0.5)
    """
    said = re.fullmatch("[0-9]{1,9}", retry_after or "")
    wanted = float(said[0]) if said else 0.25 * 2**attempt
    return min(wanted, _LONGEST_WAIT_S)

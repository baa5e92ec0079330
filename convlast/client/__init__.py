"""A client of the service: the library's verbs, carried out by a service.

Each verb is one request with one answer, so any replica behind a load balancer can give it. A
request is repeated, a bounded number of times, if that may help: a conversion depends on nothing
but its input and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Self

import httpx

from convlast.client.answers import JSON, ZIP, converted, inspected
from convlast.client.refusals import failure_of, refusal_of
from convlast.client.upload import Upload, headers_of
from convlast.client.zip_answer import CutOffError
from convlast.errors import OptionError
from convlast.options import Options
from convlast.progress import Progress, silent
from convlast.report import Report
from convlast.writing.naming import OF_FOLDERS, converted_folder_name, converted_name
from convlast.writing.target import place_of
from convlast.writing.workplace import (
    refuse_folder,
    refuse_same_file,
    workplace_beside,
    workplace_in,
)

INSPECTED = frozenset({"memory_format", "select", "on_unreadable"})
"""The options that an inspection takes."""

_OPTIONS = Options()
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
            attempts: How many times to try a request that may succeed if it is repeated.
            transport: Carries the requests; only tests replace it.

        Raises:
            OptionError: If the address is not an HTTP address, or the key cannot be sent.
        """
        self._attempts = attempts
        if key is not None and not re.fullmatch(r"[!-~]+", key):
            raise OptionError("key", "The key is not one word of printable ASCII characters.")
        self._http = httpx.Client(
            base_url=_base_of(url),
            headers={
                # Weights hardly shrink, and a compressed answer would have no known size.
                "Accept-Encoding": "identity",
                **({"Authorization": f"Bearer {key}"} if key else {}),
            },
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
        workplace = workplace_in(place) if place.is_dir() else workplace_beside(place)
        with workplace as folder:
            arrived = folder / "artifact"

            def take(response: httpx.Response) -> Report:
                return converted(response, arrived, advance)

            report = self._ask("convert", path, _parameters(options), ZIP, take, advance)
            if place.is_dir():
                place = place_of(place / _name_for(path.name, options, report))
                refuse_same_file(path, place)
                refuse_folder(place)
            arrived.replace(place)
        return _named(report, place.name)

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
            options: What a conversion would be asked for; most of it makes no difference here.
            progress: Called as `progress(stage, done, total)`, with `upload`.

        Raises:
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        given = {name: value for name, value in _parameters(options).items() if name in INSPECTED}
        return self._ask("inspect", Path(source), given, JSON, inspected, progress or silent)

    def _ask(
        self,
        verb: str,
        path: Path,
        parameters: dict[str, Any],
        accept: str,
        take: Callable[[httpx.Response], Report],
        progress: Progress,
    ) -> Report:
        """Send a file, and return what is taken from the answer; repeat it while that may help."""
        headers = {"Accept": accept, **headers_of(path)}
        for attempt in range(1, self._attempts + 1):
            upload = Upload(path, progress)
            try:
                with self._http.stream(
                    "POST",
                    verb,
                    params={**parameters, "filename": path.name},
                    headers=headers,
                    content=upload,
                ) as response:
                    if response.status_code == httpx.codes.OK:
                        return take(response)
                    refusal = refusal_of(response, verb, upload.waited_s())
            except (httpx.RequestError, CutOffError) as error:
                refusal = failure_of(error, self._http.base_url)
            if not refusal.is_passing:
                break
            if attempt < self._attempts:
                time.sleep(_wait_s(refusal.retry_after, attempt))
        if attempt > 1:
            refusal.error.add(f"It was tried {attempt} times.")
        raise refusal.error


def _base_of(url: str) -> httpx.URL:
    """Return the URL below which the verbs are.

    Raises:
        OptionError: If it is not one of HTTP.
    """
    try:
        base = httpx.URL(url.rstrip("/") + "/")
    except httpx.InvalidURL:
        base = httpx.URL()
    if base.scheme not in {"http", "https"} or not base.host:
        raise OptionError(
            "server",
            f"{url[:80]!r} is not the address of a service.",
            remedy="It is like http://127.0.0.1:8000.",
        )
    return base


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


def _wait_s(retry_after: str | None, attempt: int) -> float:
    """Return how long to wait: as long as the service says, or else longer each time.

    >>> _wait_s("3", 1), _wait_s(None, 3), _wait_s("²", 1)
    (3.0, 2.0, 0.5)
    """
    said = re.fullmatch("[0-9]{1,9}", retry_after or "")
    wanted = float(said[0]) if said else 0.25 * 2**attempt
    return min(wanted, _LONGEST_WAIT_S)

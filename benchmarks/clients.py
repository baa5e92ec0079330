"""Clients that send one checkpoint again and again, each over one connection.

Each request has a file name of its own: requests that are the same in everything share one job.
"""

from __future__ import annotations

import http.client
import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

BOUNDARY = "edge-of-a-part"
TIMEOUT_S = 120.0
PAUSE_S = 0.1
"""How long a client waits after a refusal."""


_numbers = itertools.count(1)


@dataclass(frozen=True)
class Form:
    """The body of a form, whose checkpoint gets another name each time."""

    content: bytes
    """The checkpoint and the other fields, to the end of the body."""

    def named(self, number: int) -> tuple[bytes, bytes]:
        """Return the body in two pieces, with this number in the checkpoint's name."""
        return _part(f'name="checkpoint"; filename="m{number}.pt"'), self.content


def form(content: bytes, fields: Mapping[str, str]) -> Form:
    """Return a form with this checkpoint and these fields."""
    parts = [content]
    parts += [_part(f'name="{name}"') + value.encode() for name, value in fields.items()]
    return Form(b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()]))


def _part(parameters: str) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {parameters}\r\n\r\n".encode()


def ask(url: str, body: Form, clients: int, seconds: float) -> dict[str, Any]:
    """Let these clients send as fast as they are answered; return rates and times.

    Each sends at least once, and every request is waited for. The rate covers the whole time until
    the last answer, during most of which the service is busy.
    """
    until_s = time.perf_counter() + seconds
    taken_s: list[float] = []
    codes: Counter[str] = Counter()
    threads = [
        threading.Thread(target=_ask_on, args=(url, body, until_s, taken_s, codes))
        for _ in range(clients)
    ]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole_s = time.perf_counter() - began_s
    return {
        "answers_per_s": codes["200"] / whole_s,
        "median_s": statistics.median(taken_s) if taken_s else None,
        "codes": dict(sorted(codes.items())),
    }


def _ask_on(
    url: str, body: Form, until_s: float, taken_s: list[float], codes: Counter[str]
) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    while True:
        pieces = body.named(next(_numbers))
        length = str(sum(map(len, pieces)))
        began_s = time.perf_counter()
        try:
            connection.request("POST", "/convert", pieces, {**headers, "Content-Length": length})
            response = connection.getresponse()
            response.read()
            answer = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request opens it again
            answer = type(error).__name__
        codes[answer] += 1
        if answer == "200":
            taken_s.append(time.perf_counter() - began_s)
        if time.perf_counter() >= until_s:
            break
        if answer != "200":
            time.sleep(PAUSE_S)
    connection.close()

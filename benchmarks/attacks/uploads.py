"""Attacks by what is uploaded: by its cost, or by code that took a worker over."""

from __future__ import annotations

import io
import pickle
import secrets
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import torch

from tests.builders import one_convolution
from tests.hostile.hands_over_again import COPIES

CLIENTS = 4
SMALL_FILES = 5000


def repeat(name: str, port: int, key: str, seconds: float) -> Counter[str]:
    """Send it again and again, by several clients at once, and count what comes back."""
    until_s = time.monotonic() + seconds
    make = ATTACKS.get(name) or TAKEN_OVER[name]
    contents = make()
    answers: Counter[str] = Counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        for each in range(CLIENTS):
            clients.submit(_keep_sending, contents[each:] or contents, port, key, until_s, answers)
    return answers


def _keep_sending(
    contents: list[bytes], port: int, key: str, until_s: float, answers: Counter[str]
) -> None:
    turn = 0
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120, trust_env=False
    ) as client:
        while time.monotonic() < until_s:
            content = contents[turn % len(contents)]
            turn += 1
            try:
                # Without a name of its own, it could join the job of another client.
                query = {"smoke": "none", "filename": f"{secrets.token_hex(4)}.pt"}
                response = client.post("/convert", params=query, content=content)
            except httpx.TransportError as error:
                answers[type(error).__name__] += 1
                continue
            answers[_named(response)] += 1


def _named(response: httpx.Response) -> str:
    is_problem = response.headers["content-type"].endswith("problem+json")
    return f"{response.status_code} {response.json()['code'] if is_problem else ''}".strip()


def copying_pickles() -> list[bytes]:
    """Give pickles that hand one large value over, again and again."""
    return [make() for make in COPIES.values()]


def many_small_files() -> list[bytes]:
    """Give a checkpoint among thousands of files of one byte."""
    checkpoint, folder = io.BytesIO(), io.BytesIO()
    torch.save(one_convolution(), checkpoint)
    with zipfile.ZipFile(folder, "w") as archive:
        archive.writestr("model.pt", checkpoint.getvalue())
        for number in range(SMALL_FILES):
            archive.writestr(f"{number:05}.txt", b".")
    return [folder.getvalue()]


class _Code:
    def __init__(self, text: str) -> None:
        self._text = _PRELUDE + text

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, dict[str, object]]]:
        return exec, (self._text, {})


def _code(text: str) -> list[bytes]:
    return [pickle.dumps(_Code(text))]


_PRELUDE = """
import os, socket, stat, sys, time
job = sys._getframe(1).f_locals["job"]
os.chdir(job.folder)
def say(line):
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, line + b"\\n")
        except OSError:
            pass
def finish():
    say(b'{"event":"refused","code":"verification-failed","detail":"no","has_report":true}')
    time.sleep(60)
"""


def deep_folders() -> list[bytes]:
    """Leave folders in folders, deeper than anything recursive can go."""
    return _code("for _ in range(3000):\n os.mkdir('d'); os.chdir('d')")


def many_files() -> list[bytes]:
    """Leave more files than anybody counts."""
    return _code("for n in range(30000):\n os.close(os.open(str(n), os.O_CREAT))")


def stage_names() -> list[bytes]:
    """Name one stage after the other, for the metrics."""
    return _code(
        "for n in range(70000):\n"
        ' say(b\'{"event":"stage","name":"s%d","done":1,"total":2}\' % n)\n'
        "finish()"
    )


def long_lines() -> list[bytes]:
    """Say lines that are as long as they may be, and no JSON that ends."""
    return _code("for _ in range(2000):\n say(b'[' * 120000)\nfinish()")


def huge_report() -> list[bytes]:
    """Leave a report of 500 MB."""
    return _code(
        "with open('report.json', 'wb') as file:\n file.truncate(500_000_000)\n"
        "open('report.html', 'wb').close()\nfinish()"
    )


Make = Callable[[], list[bytes]]
ATTACKS: dict[str, Make] = {
    "copying-pickles": copying_pickles,
    "many-small-files": many_small_files,
}
TAKEN_OVER: dict[str, Make] = {
    "deep-folders": deep_folders,
    "many-files": many_files,
    "stage-names": stage_names,
    "long-lines": long_lines,
    "huge-report": huge_report,
}

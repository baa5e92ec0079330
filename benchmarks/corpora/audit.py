"""What the workers ask of the kernel while they have a file open, as strace sees it."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.corpora.samples import Sample, own
from benchmarks.corpora.trial import Trial
from benchmarks.faults import is_worker
from tests.hostile import parts
from tests.service.running import Running, start

TRUSTING = "tests.service.trusting_service"
KINDS = ["process", "program", "socket", "write outside"]
"""The calls that are looked for."""

_TRACED = "%process,%network,%file"
_BIRTH = re.compile(r"(?:v?fork|clone3?)\(.* = (\d+)|<\.\.\. (?:v?fork|clone3?) resumed>.* = (\d+)")
_PROGRAM = re.compile(r"(execve|execveat)\(")
_SOCKET = re.compile(r"(socket|socketpair|connect|bind|listen|accept4?)\(")
_PROCESS = re.compile(r"(fork|vfork|clone3?)\((?!.*CLONE_THREAD)")
_CHANGE = re.compile(
    r"(creat|(?:un)?link(?:at)?|rename(?:at2?)?|mkdir(?:at)?|rmdir|symlink(?:at)?"
    r"|truncate|mknod(?:at)?|chmod|fchmodat2?|chown|fchownat|open(?:at2?)?)\("
)
_PATH = re.compile(r'(?:<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
"""A path, and where the folder that it is relative to is open."""
_WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)")

Task = tuple[int, int]
"""A thread: its number, and how many have had that number before."""


class Call(NamedTuple):
    """A line of the log: whose it is, and what was asked."""

    task: Task
    text: str


def audited(trial: Trial, samples: list[Sample], folder: Path) -> dict[str, Any]:
    """Send the samples, watched; return what was seen."""
    trial.idle_workers()  # each leads a session of its own by now, and the fork server does not
    audit = Audit(trial.service, folder / "strace.log")
    trial.post(own("sound", parts.sound()))  # its worker came before strace
    for sample in samples:
        trial.post(sample)
    trial.idle_workers()
    return audit.stop()


def found_where_it_must(folder: Path) -> list[str]:
    """Watch workers that unpickle whatever comes; return the kinds of calls that are found.

    What the audit does not see here, it would not see elsewhere.
    """
    service = start(folder, TRUSTING)
    try:
        service.wait_until_ready()
        calls = [
            b"cposix\nexecv\n(" + parts.text("/bin/true") + b"]" + parts.text("true") + b"atR.",
            b"csocket\nsocket\n)R.",
            b"cposix\nfork\n)R.",
            b"cio\nopen\n(" + parts.text(str(folder / "written")) + parts.text("w") + b"tR.",
        ]
        seen = audited(Trial(service), [own("control", call) for call in calls], folder)
    finally:
        service.stop()
    return sorted({what.partition(":")[0] for what in seen["forbidden"]})


def problems_of(audit: dict[str, Any], jobs: int) -> list[str]:
    """Say what an audit of so many jobs has found, or may have missed."""
    problems = [f"seen: {call}" for call in audit["forbidden"]]
    if audit["jobs"] < jobs or audit["of_unknown"]:
        problems.append(f"the audit has seen {audit['jobs']} of {jobs} jobs")
    if audit["found_where_it_must"] != KINDS:
        problems.append(f"the audit finds only {audit['found_where_it_must']}")
    return problems


class Audit:
    """strace on everything that the fork server starts, while it runs and afterwards."""

    def __init__(self, service: Running, log: Path) -> None:
        self._log, self._work_dir = log, service.work_dir
        self._fork_server = next(
            pid
            for pid in service.descendants()
            if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes() and not is_worker(pid)
        )
        command = ["strace", "-f", "-q", "-y", "-s", "64", "-e", f"trace={_TRACED}", "-o", str(log)]
        self._strace = subprocess.Popen([*command, "-p", str(self._fork_server)])

    def stop(self) -> dict[str, Any]:
        """Stop watching; return what was seen in the jobs."""
        self._strace.send_signal(signal.SIGINT)
        self._strace.wait(30)
        return examined(self._log, self._fork_server, self._work_dir)


def examined(log: Path, fork_server: int, work_dir: Path) -> dict[str, Any]:
    """Look through a log for what a worker asked for once it had opened its job's files."""
    births = _births(log)
    entering = re.compile(
        rf"openat\(.*({re.escape(str(work_dir))}/workers/[^/\"]+)/(?:input|work)/"
    )
    folders: dict[Task, str] = {}
    calls, unknown, seen = 0, 0, Counter[str]()
    for call in _calls(log):
        worker = _worker_of(call.task, births, fork_server)
        if worker is None:
            unknown += call.task[0] != fork_server
            continue
        if worker not in folders and (entered := entering.match(call.text)):
            folders[worker] = f"{entered[1]}/work"
        if worker in folders:
            calls += 1
            if what := _forbidden(call.text, folders[worker]):
                seen[f"{what}: {call.text[:160]}"] += 1
    forbidden = dict(seen.most_common(20))
    return {"jobs": len(folders), "calls": calls, "of_unknown": unknown, "forbidden": forbidden}


def _calls(log: Path) -> Iterator[Call]:
    """Yield the calls in a log; a thread's number may be given again after its end."""
    lives = Counter[int]()
    with log.open(errors="replace") as lines:
        for line in lines:
            number, _, text = line.rstrip("\n").partition(" ")
            pid, text = int(number), text.lstrip()
            yield Call((pid, lives[pid]), text)
            if text.startswith("+++"):
                lives[pid] += 1


def _births(log: Path) -> dict[Task, Task]:
    """Return who started each thread or process."""
    births: dict[Task, Task] = {}
    lives = Counter[int]()
    for call in _calls(log):
        if call.text.startswith("+++"):
            lives[call.task[0]] += 1
        elif found := _BIRTH.match(call.text):
            child = int(found[1] or found[2])
            births[child, lives[child]] = call.task
    return births


def _worker_of(task: Task, births: dict[Task, Task], fork_server: int) -> Task | None:
    """Return the process that the fork server started and that this thread belongs to."""
    while parent := births.get(task):
        if parent[0] == fork_server:
            return task
        task = parent
    return None


def _forbidden(text: str, folder: str) -> str | None:
    """Say what is wrong with a call of a worker that may write in this folder alone."""
    if _PROGRAM.match(text):
        return "program"
    if _SOCKET.match(text):
        return "socket"
    if _PROCESS.match(text):
        return "process"
    if (call := _CHANGE.match(text)) and (not call[1].startswith("open") or _WRITES.search(text)):
        found = _PATH.findall(text)
        paths = [path if path.startswith("/") else f"{base}/{path}" for base, path in found]
        if not all(f"{path}/".startswith(("/dev/null/", f"{folder}/")) for path in paths):
            return "write outside"
    return None

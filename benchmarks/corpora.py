"""Files that others wrote to try scanners and loaders, sent to a real service.

Each goes through `POST /convert` as it is and re-encoded: a pickle also as the objects of a torch
zip and of a torch legacy file, in its own opcodes and in those of protocol 2, so that the
allow-list is tried and not the protocol alone; the members of a zip also beside those of a sound
checkpoint. Each must be answered by a documented problem, or by a right artifact, within 5 s and
300 MiB of anonymous memory above the idle worker. Then all are sent again while strace watches:
once a worker has opened its upload it may start no program, open no socket, and write only in its
own folder.

    python -m benchmarks.corpora picklescan=FOLDER modelaudit=FOLDER ...

FOLDER is a checkout, or what generators made; of a test's source its bytes literals are taken.
Nothing in it is executed or unpickled here. Prints one JSON object; exits with 1 if anything was
wrong. Without strace, or with --no-audit, the second half is left out, and the result says so.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import json
import pickletools
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import safetensors.torch
import torch

import convlast
from benchmarks.faults import is_worker
from convlast.devices import environment_of
from service.problems import TABLE
from tests.exactness import restrided
from tests.hostile import (
    breaks_the_safetensors_header,
    breaks_the_zip,
    expands_without_bytes,
    parts,
)
from tests.service.running import REAL, Running, start, wait_for

ALLOWED_S, ALLOWED_MIB = 5.0, 300.0
QUICK_S, QUICK_MIB = 1.0, 100.0
MAX_FILE_BYTES = 64 << 20
WORKERS = 2
"""One for conversions, one for inspections."""

_PICKLE_NAME = re.compile(r"\.(pkl|pickle|dill|joblib|bin|pt|pth|ckpt|dat)$")


@dataclass(frozen=True)
class Sample:
    """Bytes to send, and where they are from."""

    corpus: str
    name: str
    encoding: str
    data: bytes


@dataclass
class Measured:
    """What sending one sample took, and what came of it."""

    code: str
    seconds: float
    mib: float
    wrong: str | None = None


@dataclass
class Result:
    """What has happened so far."""

    codes: dict[str, Counter[str]] = field(default_factory=dict)
    files: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    worst_s: tuple[float, str] = (0.0, "")
    worst_mib: tuple[float, str] = (0.0, "")

    def note(self, sample: Sample, measured: Measured) -> None:
        """Count one answer."""
        where = f"{sample.corpus}: {sample.name}, {sample.encoding}"
        self.files[sample.corpus] += sample.encoding == "as it is"
        self.codes.setdefault(sample.encoding, Counter())[measured.code] += 1
        self.worst_s = max(self.worst_s, (round(measured.seconds, 3), where))
        self.worst_mib = max(self.worst_mib, (round(measured.mib, 1), where))
        if measured.wrong:
            self.wrong.append(f"{where}: {measured.wrong}")
        if measured.seconds > ALLOWED_S or measured.mib > ALLOWED_MIB:
            self.wrong.append(f"{where}: {measured.seconds:.1f} s, {measured.mib:.0f} MiB")


def samples_of(corpora: list[tuple[str, Path]]) -> Iterator[Sample]:
    """Yield every file of every corpus in each of its encodings, none twice."""
    seen: set[bytes] = set()
    for corpus, folder in corpora:
        for name, content in _contents(folder):
            for encoding, data in encodings(name, content):
                digest = hashlib.sha256(data).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield Sample(corpus, name, encoding, data)


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        name, content = str(path.relative_to(folder)), path.read_bytes()
        if path.suffix in {".py", ".rs"}:
            yield from literals(name, content.decode("utf-8", "replace"))
        elif path.name != ".git":
            yield name, content


def literals(name: str, source: str) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes that a test's source states, without running it."""
    if name.endswith(".rs"):
        texts = re.finditer(r'b"(?:[^"\\]|\\.)*"', source, re.DOTALL)
        found = [(match.start(), _literal(match.group())) for match in texts]
    else:
        nodes = ast.walk(ast.parse(source))
        found = [
            (node.lineno, node.value)
            for node in nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes)
        ]
    for place, value in found:
        if len(value) > 8:
            yield f"{name}:{place}", value


def _literal(text: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return b""
    return value if isinstance(value, bytes) else b""


def encodings(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file as it is, and in every other way in which it can be sent."""
    yield "as it is", data
    if data[:2] == b"PK":
        try:
            members = _members(data)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError):
            return
        yield "beside a sound checkpoint", beside_a_sound_checkpoint(members)
        for member, content in members.items():
            if _PICKLE_NAME.search(member):
                yield from _pickle_encodings(content)
    elif _PICKLE_NAME.search(name) or in_protocol_two(data):
        yield from _pickle_encodings(data)


def _pickle_encodings(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "in a zip", parts.torch_zip(data)
    yield "in a legacy file", legacy_around(data)
    if rewritten := in_protocol_two(data):
        yield "in a zip, protocol 2", parts.torch_zip(rewritten)
        yield "in a legacy file, protocol 2", legacy_around(rewritten)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = [entry.file_size for entry in archive.infolist()]
        if sum(sizes) > MAX_FILE_BYTES:
            return {}
        return {name: archive.read(name) for name in archive.namelist()}


def beside_a_sound_checkpoint(members: dict[str, bytes]) -> bytes:
    """Return a sound checkpoint that has these members too."""
    buffer = io.BytesIO(parts.sound())
    with zipfile.ZipFile(buffer, "a") as archive:
        present = set(archive.namelist())
        for name, content in members.items():
            if f"archive/{name}" not in present:
                archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    return buffer.getvalue()


def legacy_around(pickled: bytes) -> bytes:
    """Return a legacy file with this pickle for its objects, and no storages."""
    stream = io.BytesIO(parts.sound_legacy())
    for _ in range(3):  # magic number, protocol, system
        for _ in pickletools.genops(stream):
            pass
    return stream.getvalue()[: stream.tell()] + pickled + b"\x80\x02]."


def in_protocol_two(data: bytes) -> bytes | None:
    """Write a pickle in the opcodes that torch's unpickler knows; None where that cannot be."""
    rewriter = _Rewriter()
    try:
        operations = list(pickletools.genops(data))
        ends = [position or 0 for _, _, position in operations[1:]] + [len(data)]
        for (opcode, arg, start), end in zip(operations, ends, strict=True):
            rewriter.take(opcode.name, arg, data[start or 0 : end])
    except Exception:  # whatever a broken pickle makes pickletools raise
        return None
    return parts.PROTOCOL + b"".join(piece for piece, _ in rewriter.pieces)


class _Rewriter:
    """A pickle's opcodes, written anew one by one.

    Texts are remembered, since a name that protocol 4 takes from the stack, or from the memo,
    stands in the opcode itself here.
    """

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, str | None]] = []
        """Each with the text that it pushes, if it pushes one."""
        self._marks: list[int] = []
        self._memo: dict[int, str | None] = {}

    def take(self, name: str, arg: Any, raw: bytes) -> None:
        """Take one opcode."""
        if name in {"PROTO", "FRAME"}:
            return
        if isinstance(arg, str) and ("UNICODE" in name or "STRING" in name):
            self._push_text(arg)
        elif name == "MEMOIZE" or "PUT" in name:
            self._put(len(self._memo) if arg is None else int(arg))
        elif "GET" in name:
            self._get(int(arg))
        elif name in self._WITH_MARK:
            self._close(name, str(arg), raw)
        elif name == "MARK":
            self._marks.append(len(self.pieces))
            self._push(raw)
        else:
            self._push(self._converted(name, arg, raw))

    _WITH_MARK = frozenset({
        "TUPLE", "APPENDS", "SETITEMS", "ADDITEMS", "FROZENSET", "POP_MARK",
        "LIST", "DICT", "INST", "OBJ",
    })  # fmt: skip

    def _converted(self, name: str, arg: Any, raw: bytes) -> bytes:
        if name == "STACK_GLOBAL":
            member, module = self._pop_text(), self._pop_text()
            return f"c{module}\n{member}\n".encode()
        if isinstance(arg, bytes | bytearray):
            texts = parts.text(arg.decode("latin-1")) + parts.text("latin1")
            return b"c_codecs\nencode\n" + texts + b"\x86R"
        if isinstance(arg, bool):
            return b"\x88" if arg else b"\x89"
        if isinstance(arg, int) and ("INT" in name or "LONG" in name):
            return parts.number(arg)
        return b"G" + struct.pack(">d", arg) if isinstance(arg, float) else raw

    def _close(self, name: str, arg: str, raw: bytes) -> None:
        """Write an opcode that goes back to the last mark."""
        mark = self._marks.pop()
        if name == "INST":
            self.pieces.insert(mark, (b"c" + "\n".join(arg.split(" ", 1)).encode() + b"\n", None))
            raw = b"tR"
        elif name == "OBJ":
            self.pieces[mark : mark + 2] = self.pieces[mark + 1], self.pieces[mark]
            raw = b"tR"
        elif name in {"LIST", "DICT"}:
            self.pieces.insert(mark, (b"]" if name == "LIST" else b"}", None))
            raw = b"e" if name == "LIST" else b"u"
        self._push(raw)

    def _push(self, piece: bytes) -> None:
        self.pieces.append((piece, None))

    def _push_text(self, text: str) -> None:
        self.pieces.append((parts.text(text), text))

    def _put(self, index: int) -> None:
        self._memo[index] = self.pieces[-1][1]
        if self._memo[index] is None:
            self._push(b"r" + struct.pack("<I", index))

    def _get(self, index: int) -> None:
        text = self._memo[index]
        if text is None:
            self._push(b"j" + struct.pack("<I", index))
        else:
            self._push_text(text)

    def _pop_text(self) -> str:
        _, text = self.pieces.pop()
        if text is None:
            raise ValueError("a name that is no text")
        return text


class Trial:
    """A running service, and what it is asked."""

    def __init__(self, service: Running) -> None:
        self.service = service
        self._client = service.client()

    def send(self, sample: Sample) -> Measured:
        """Send a sample to an idle worker, watch that, and judge the answer."""
        with Watch(self.idle_workers()) as watch:
            began = time.perf_counter()
            response = self.post(sample)
            seconds = time.perf_counter() - began
        code = str(response.status_code)
        if response.status_code != httpx.codes.OK:
            code = str(response.json().get("code"))
        wrong = self._judged(sample, response, code)
        if self._client.get("/readyz").status_code != httpx.codes.OK:
            wrong = "the service is not ready after it"
        return Measured(code, seconds, watch.mib, wrong)

    def post(self, sample: Sample) -> httpx.Response:
        """Send a sample, and do no more."""
        return self._client.post(
            "/convert?filename=sample.pt",
            content=sample.data,
            headers={"Content-Type": "application/octet-stream"},
        )

    def idle_workers(self) -> list[int]:
        """Wait until all workers have warmed up and wait; return their processes."""
        found: list[int] = []

        def are_there() -> bool:
            found[:] = [pid for pid in self.service.descendants() if is_worker(pid)]
            return len(found) == WORKERS and all(_is_at_rest(pid) for pid in found)

        wait_for(are_there, within_s=60)
        return found

    def _judged(self, sample: Sample, response: httpx.Response, code: str) -> str | None:
        if response.status_code == httpx.codes.OK:
            return _difference(sample.data, response.content)
        if code not in TABLE or TABLE[code].status != response.status_code:
            return f"undocumented: {response.text[:200]}"
        if not 400 <= response.status_code < 500:
            return f"not refused: {response.text[:200]}"
        return None


def _is_at_rest(pid: int) -> bool:
    """Say whether a process has used no time for a moment, after it has warmed up."""
    try:
        before = Path(f"/proc/{pid}/schedstat").read_text()
        time.sleep(0.05)
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return threads > 1 and Path(f"/proc/{pid}/schedstat").read_text() == before
    except OSError:
        return False


def _difference(source: bytes, answer: bytes) -> str | None:
    """Load both files; return what differs but strides."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(answer)) as archive:
        before, after = Path(folder, "before"), Path(folder, "after")
        before.write_bytes(source)
        after.write_bytes(archive.read(archive.namelist()[0]))
        try:
            if source[8:9] == b"{":
                loaded = safetensors.torch.load_file(before), torch.load(after, weights_only=True)
                assert {k: v.tolist() for k, v in loaded[0].items()} == {
                    k: v.tolist() for k, v in loaded[1].items()
                }
            else:
                restrided(before, after)
        except Exception as error:
            return f"another artifact: {type(error).__name__}: {error}"
    return None


class Watch:
    """How far the anonymous memory of any process goes above what it is now, by looking often."""

    def __init__(self, pids: list[int]) -> None:
        self._before = {pid: _anonymous_mib(pid) for pid in pids}
        self.mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.001):
            grown = (_anonymous_mib(pid) - before for pid, before in self._before.items())
            self.mib = max(self.mib, *grown)


def _anonymous_mib(pid: int) -> float:
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


class Audit:
    """strace on everything that the fork server starts, while it runs and afterwards."""

    _PROGRAM = re.compile(r"^\d+\s+(execve|execveat)\(")
    _SOCKET = re.compile(r"^\d+\s+(socket|socketpair|connect|bind|listen|accept4?)\(")
    _PROCESS = re.compile(r"^\d+\s+(fork|vfork|clone3?)\((?!.*CLONE_THREAD)")
    _CHANGE = re.compile(
        r"^\d+\s+(creat|(?:un)?link(?:at)?|rename(?:at2?)?|mkdir(?:at)?|rmdir|symlink(?:at)?"
        r"|truncate|mknod(?:at)?|chmod|fchmodat2?|chown|fchownat|open(?:at2?)?)\("
    )
    _PATH = re.compile(r'(?:<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
    """A path, and where the folder that it is relative to is open."""
    _WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)")

    def __init__(self, service: Running, log: Path) -> None:
        self._log, self._work_dir = log, service.work_dir
        self._fork_server = next(
            pid
            for pid in service.descendants()
            if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes() and not is_worker(pid)
        )
        traced = "%process,%network,%file"
        command = ["strace", "-f", "-qq", "-y", "-s", "64", "-e", f"trace={traced}", "-o", str(log)]
        self._strace = subprocess.Popen([*command, "-p", str(self._fork_server)])

    def stop(self) -> dict[str, Any]:
        """Stop watching; return what was seen in the jobs."""
        self._strace.send_signal(signal.SIGINT)
        self._strace.wait(30)
        jobs, lines, seen = 0, 0, Counter[str]()
        folder = ""
        entered = re.compile(re.escape(str(self._work_dir)) + r"/(?:jobs|workers)/[^/\"]+(?=/)")
        for line in self._log.read_text(errors="replace").splitlines():
            if line.startswith(f"{self._fork_server} "):
                folder = ""
            elif not folder and "openat(" in line and (found := entered.search(line)):
                folder, jobs = found.group(), jobs + 1
            if folder:
                lines += 1
                if what := self._forbidden(line, folder):
                    seen[f"{what}: {line.split(maxsplit=1)[1][:160]}"] += 1
        return {"jobs": jobs, "calls": lines, "forbidden": dict(seen.most_common(20))}

    def _forbidden(self, line: str, folder: str) -> str | None:
        if self._PROGRAM.match(line):
            return "program"
        if self._SOCKET.match(line):
            return "socket"
        if self._PROCESS.match(line):
            return "process"
        if (call := self._CHANGE.match(line)) and (
            not call[1].startswith("open") or self._WRITES.search(line)
        ):
            found = self._PATH.findall(line)
            paths = [path if path.startswith("/") else f"{base}/{path}" for base, path in found]
            if not all(f"{path}/".startswith(("/dev/null/", f"{folder}/")) for path in paths):
                return "write outside"
        return None


def quick_cases() -> dict[str, Callable[[], bytes]]:
    """Return the files that must be refused at once."""
    return {
        "a zip bomb of 2 GB": zip_bomb,
        "a stride-0 tensor of 29e9 elements": expands_without_bytes.one_tensor,
        "duplicate members": breaks_the_zip.duplicate_member,
        "deflated members": breaks_the_zip.deflated,
        "a safetensors file of 400,000 tensors": lambda: many_tensors(400_000),
    }


def zip_bomb(nbytes: int = 2 << 30) -> bytes:
    """Return a torch zip whose storage is deflated, and a thousand times as large as the file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        weight = parts.tensor(of=parts.storage(numel=nbytes // 4))
        archive.writestr("archive/data.pkl", parts.state_dict(conv__weight=weight))
        with archive.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(nbytes >> 24):
                member.write(bytes(1 << 24))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def many_tensors(count: int) -> bytes:
    """Return a safetensors file of tensors of one number each."""
    entries = {
        f"layer.{index}.weight": {
            "dtype": "F32",
            "shape": [1],
            "data_offsets": [4 * index, 4 * index + 4],
        }
        for index in range(count)
    }
    return breaks_the_safetensors_header.around(json.dumps(entries).encode(), bytes(4 * count))


def try_quick_cases(trial: Trial, repeats: int = 3) -> tuple[dict[str, Any], list[str]]:
    """Send each case a few times; return the worst of each, and what was too much."""
    figures, wrong = {}, []
    for name, build in quick_cases().items():
        data = build()
        found = [trial.send(Sample("own", name, "as it is", data)) for _ in range(repeats)]
        seconds, mib = max(each.seconds for each in found), max(each.mib for each in found)
        figures[name] = {
            "bytes": len(data),
            "code": found[0].code,
            "seconds": round(seconds, 3),
            "mib": round(mib, 1),
        }
        wrong += [f"{name}: {each.wrong}" for each in found if each.wrong]
        if seconds > QUICK_S or mib > QUICK_MIB or found[0].code == "200":
            wrong.append(f"{name}: {figures[name]}")
    return figures, wrong


def audited(trial: Trial, samples: list[Sample], folder: Path) -> dict[str, Any]:
    """Send the samples once more, watched; return what was seen."""
    trial.idle_workers()  # each leads a session of its own by now, and the fork server does not
    audit = Audit(trial.service, folder / "strace.log")
    trial.post(Sample("own", "sound", "as it is", parts.sound()))  # its worker came before strace
    for sample in samples:
        trial.post(sample)
    trial.idle_workers()
    return audit.stop()


def run(samples: list[Sample], folder: Path, *, is_audited: bool) -> dict[str, Any]:
    """Send everything; return the figures."""
    service = start(folder, REAL)
    result, audit = Result(), None
    try:
        service.wait_until_ready()
        trial = Trial(service)
        quick, wrong = try_quick_cases(trial)
        for sample in samples:
            result.note(sample, trial.send(sample))
        if is_audited:
            audit = audited(trial, samples, folder)
    finally:
        exit_status = service.stop()
    result.wrong += wrong
    if audit and (audit["forbidden"] or audit["jobs"] < len(samples)):
        result.wrong.append("the audit found something, or too few jobs")
    return {
        "benchmark": "corpora",
        "files": dict(result.files),
        "requests": len(samples),
        "codes": {encoding: dict(codes) for encoding, codes in result.codes.items()},
        "worst_seconds": result.worst_s,
        "worst_mib_above_idle": result.worst_mib,
        "quick_cases": quick,
        "audit": audit,
        "exit_status": exit_status,
        "wrong": result.wrong,
    }


def main() -> None:
    """Run the trial, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--no-audit", action="store_true")
    arguments = parser.parse_args()
    named = [each.partition("=") for each in arguments.corpora]
    corpora = [(name, Path(where)) for name, _, where in named]
    samples = list(samples_of(corpora))
    is_audited = shutil.which("strace") is not None and not arguments.no_audit
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(samples, Path(folder), is_audited=is_audited)
    environment = {
        "cpu": environment_of(torch.device("cpu")).cpu,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "convlast": convlast.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(outcome | environment, indent=2))
    sys.exit(1 if outcome["wrong"] or outcome["exit_status"] else 0)


if __name__ == "__main__":
    main()

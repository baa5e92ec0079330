from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.corpora.audit import examined
from benchmarks.corpora.rewriting import in_protocol_two

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary()
)  # fmt: skip
OBJECTS = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)

FORK_SERVER, WORKER, THREAD = 10, 11, 12
JOB = "/work/workers/0123"


@given(OBJECTS, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_a_pickle_in_protocol_two_means_the_same(root: Any, protocol: int) -> None:
    """What was rewritten has no opcode of a later protocol, and the same objects."""
    rewritten = in_protocol_two(pickle.dumps([root, root], protocol))
    assert rewritten is not None
    assert pickle.loads(rewritten) == [root, root]
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(rewritten)) <= 2


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_name_stands_in_the_opcode(protocol: int) -> None:
    """A global by two texts, or by what is remembered of them, becomes one that is named."""
    rewritten = in_protocol_two(pickle.dumps([pickle.loads, pickle.dumps], protocol))
    assert rewritten is not None
    opcodes = [opcode.name for opcode, _, _ in pickletools.genops(rewritten)]
    assert opcodes.count("GLOBAL") == 2
    assert "STACK_GLOBAL" not in opcodes
    assert pickle.loads(rewritten) == [pickle.loads, pickle.dumps]


def log_of(*lines: str) -> list[str]:
    """Write what strace does where a worker opens its job, with these calls behind that."""
    return [
        f"{WORKER} socket(AF_UNIX, SOCK_STREAM, 0) = 3",  # while it warms up
        f"{FORK_SERVER} clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = {WORKER}",
        f"{WORKER} clone3({{flags=CLONE_VM|CLONE_THREAD}} <unfinished ...>",
        f"{WORKER} <... clone3 resumed>, 88) = {THREAD}",
        f'{WORKER} openat(AT_FDCWD</work>, "{JOB}/input/upload", O_RDONLY) = 4</x>',
        *lines,
        f"{THREAD} +++ exited with 0 +++",
        f"{WORKER} +++ exited with 0 +++",
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('{pid} execve("/bin/sh", ["sh"], 0x7f /* 3 vars */) = -1 EPERM', "program"),
        ("{pid} socket(AF_INET, SOCK_STREAM, 0) = -1 EPERM", "socket"),
        ("{pid} clone(child_stack=NULL, flags=SIGCHLD) = 13", "process"),
        ('{pid} openat(AT_FDCWD</work>, "/tmp/x", O_WRONLY|O_CREAT, 0666) = 5', "write outside"),
        ('{pid} openat(7</work/store>, "x", O_RDWR) = 5</work/store/x>', "write outside"),
        (f'{{pid}} rename("{JOB}/work/x", "{JOB}4/work/x") = 0', "write outside"),
        (f'{{pid}} truncate("{JOB}/input/upload", 0) = 0', "write outside"),
        (f'{{pid}} openat(AT_FDCWD</>, "{JOB}/work/a", O_WRONLY|O_CREAT, 0666) = 5', None),
        ('{pid} openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY) = -1 EACCES', None),
        ('{pid} openat(AT_FDCWD</>, "/dev/null", O_RDWR) = 5', None),
    ],
)
@pytest.mark.parametrize("pid", [WORKER, THREAD])
def test_the_audit_sees_what_a_worker_asks_for(
    line: str, kind: str | None, pid: int, tmp_path: Path
) -> None:
    """In whichever thread; and nothing of what it did before it had a file."""
    log = tmp_path / "log"
    log.write_text("\n".join(log_of(line.format(pid=pid))) + "\n")
    seen = examined(log, FORK_SERVER, Path("/work"))
    assert [call.partition(":")[0] for call in seen["forbidden"]] == ([kind] if kind else [])
    assert (seen["jobs"], seen["of_unknown"]) == (1, 0)


def test_the_audit_says_what_it_cannot_tell(tmp_path: Path) -> None:
    """A call of a thread whose birth it has not seen is counted; a number may come again."""
    log = tmp_path / "log"
    again = log_of(f"{THREAD} socket(AF_INET, SOCK_STREAM, 0) = -1 EPERM")
    log.write_text("\n".join([*log_of(), *again, '99 execve("/bin/sh", [], NULL) = 0']) + "\n")
    seen = examined(log, FORK_SERVER, Path("/work"))
    assert (seen["jobs"], seen["of_unknown"]) == (2, 1)
    assert [call.partition(":")[0] for call in seen["forbidden"]] == ["socket"]

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCRIPT = """
import json, mmap, os, resource
from service.workers import hot_pages

memory = mmap.mmap(-1, 64 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = b"a" * len(memory)

def write():
    for page in range(0, 64, 2):
        memory[page * mmap.PAGESIZE] = 1

found = hot_pages.copied_by(write)

def faults(first):
    read, out = os.pipe()
    if os.fork() == 0:
        first()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        write()
        more = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        os.write(out, json.dumps([more, memory[:] == expected]).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(read, 100))

def content():
    copy = bytearray(memory)
    copy[::2 * mmap.PAGESIZE] = bytes([1]) * 32
    return bytes(copy)

expected = content()
plain, copied = faults(lambda: None), faults(lambda: hot_pages.copy(found))
print(json.dumps({"found": len(found), "plain": plain, "copied": copied, "kept": memory[0]}))
"""


def test_memory_is_copied_before_a_job_writes_to_it() -> None:
    """A child that copies what another has written to waits for no page later."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["found"] >= 32
    assert told["plain"][0] >= 32
    assert told["copied"][0] < 16
    assert told["plain"][1], "the content is right"
    assert told["copied"][1], "the content is right"
    assert told["kept"] == ord("a"), "the parent's memory is its own"


def test_memory_that_is_gone_is_no_error() -> None:
    """Ranges that no longer exist are skipped."""
    script = "from service.workers import hot_pages; hot_pages.copy([(4096, 4096), (0, 4096)])"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_work_that_fails_yields_what_it_wrote() -> None:
    """A child that raises is reaped, and nothing hangs."""
    script = "from service.workers import hot_pages; print(hot_pages.copied_by(lambda: 1 / 0))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SCRIPT = """
import json, mmap, os
from pathlib import Path
from service.workers.large_pages import use_large_pages, use_small_pages

def large_kib():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))

flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
content = bytes(range(256)) * (1 << 16)
memory = mmap.mmap(-1, len(content), flags=flags)
memory.madvise(mmap.MADV_NOHUGEPAGE)
memory[:] = content
memory.madvise(mmap.MADV_HUGEPAGE)
before = large_kib()
use_large_pages()
read, out = os.pipe()
if os.fork() == 0:
    use_small_pages()
    memory[0] = 1
    more = mmap.mmap(-1, 16 << 20, flags=flags)
    more.madvise(mmap.MADV_HUGEPAGE)
    had = large_kib()
    more[:] = bytes(len(more))
    os.write(out, json.dumps([memory[1:] == content[1:], large_kib() - had]).encode())
    os._exit(0)
os.wait()
kept = memory[:] == content
print(json.dumps([large_kib() - before, kept, *json.loads(os.read(read, 100))]))
"""


def moves_memory() -> bool:
    """Return whether this kernel can move memory into large pages."""
    release = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return release >= (6, 1) and setting.is_file() and "[never]" not in setting.read_text()


@pytest.mark.skipif(not moves_memory(), reason="this kernel moves no memory into large pages")
def test_memory_moves_into_large_pages_and_a_child_gets_small_ones() -> None:
    """The content stays, in the process and in one forked from it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    moved_kib, is_kept, is_inherited, new_kib = json.loads(done.stdout)
    assert moved_kib >= 8 << 10
    assert is_kept
    assert is_inherited
    assert new_kib <= 0

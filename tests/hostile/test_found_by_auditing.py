"""What watching the kernel has found: the audit of benchmarks/corpora."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile import parts

PROGRAM = """
import sys
import safetensors.torch, convlast

convlast.convert  # which imports it: the work is watched, not what is imported for it

def watch(event, arguments):
    if event in {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty",
                 "os.posix_spawn", "socket.__new__"}:
        print(event, arguments)

sys.addaudithook(watch)
convlast.convert(sys.argv[1], sys.argv[2], device="cpu")
convlast.inspect(sys.argv[1])
convlast.verify(sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("build", [parts.sound, parts.sound_legacy])
def test_a_conversion_starts_no_program_and_opens_no_socket(
    build: Callable[[], bytes], tmp_path: Path
) -> None:
    """Nor does Python's own library for it: naming the platform used to run `uname`."""
    source = tmp_path / "source.pt"
    source.write_bytes(build())
    command = [sys.executable, "-c", PROGRAM, str(source), str(tmp_path / "target.pt")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == ""

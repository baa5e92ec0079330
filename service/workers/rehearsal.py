"""The fork server's rehearsal: one small conversion, which warms up all workers on the CPU.

Only the fork server imports this module, before it forks. A worker inherits what the conversion has
imported, cached and started, and is ready after a probe.

The rehearsal uses no GPU: CUDA does not survive a fork. Where there may be one, it has no smoke,
since a smoke calls `torch.export`, which asks for GPUs in ways that cannot all be foreseen.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from service.workers import conversion

_SIGNS_OF_A_GPU = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")


def _rehearse() -> None:
    has_gpu = any(Path(sign).exists() for sign in _SIGNS_OF_A_GPU)
    try:
        conversion.rehearse(fully=not has_gpu)
    # Without a fork server nothing would run. Each worker rehearses then, and says what is wrong.
    except Exception:
        sys.stderr.write(f"The rehearsal failed.\n{traceback.format_exc()}")


_rehearse()

"""The fork server's last import: opens what workers may read, and freezes all objects and memory.

It also makes the fork server ignore SIGHUP, which a terminal that is closed sends to each process
that was started in it: the service still needs workers while it drains.

By then all packages are loaded that workers may read.

Frozen objects are excluded from garbage collection. The garbage collector writes to each object
that it visits. In a worker this copied the memory pages that it shares with the fork server, which
cost 0.2 s of a job that made as many objects as `torch.export` does.

Source: https://docs.python.org/3/library/gc.html#gc.freeze
"""

from __future__ import annotations

import gc
import signal

from service import sandbox
from service.workers.large_pages import use_large_pages

signal.signal(signal.SIGHUP, signal.SIG_IGN)
sandbox.prepare()
gc.freeze()
use_large_pages()

"""Leaves out the tests of traces where the extra `otel` is not installed.

`make oldest` and `make newest` do not install it: it needs a newer FastAPI than the service does.
"""

from __future__ import annotations

from service.telemetry.collecting import is_installed

collect_ignore = [] if is_installed() else ["collector.py", "test_collector.py", "test_spans.py"]

"""How the service logs: one JSON object a line on stderr, libraries' records too.

No line holds what stands in a file or a key. So an exception is logged by its type and by where it
was, without its message: a parser likes to quote what it could not read.
"""

from __future__ import annotations

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_FRAME = re.compile(r'\s+File "[^"]+", line \d+, in \S+')
_TYPE = re.compile(r"[A-Za-z_][\w.]*")


def configure() -> None:
    """Set up logging for this process.

    A line that cannot be written, on a full disk or to a pipe whose reader has gone, is lost, and
    nothing else is: that is how `logging`'s handlers are, and so all lines take their way.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_messages,
    ]
    render = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # Else it would quote the lost record, on the same stderr, with what was kept out of the line.
    logging.raiseExceptions = False


def outline(traceback: str) -> str:
    r"""Reduce a traceback to its frames and the types of its exceptions.

    >>> outline('Traceback:\n  File "a.py", line 1, in f\n    g()\nKeyError: "of the file"\nmore')
    'File "a.py", line 1, in f: KeyError'
    """
    frames: list[str] = []
    outlines: list[str] = []
    for line in traceback.splitlines():
        if _FRAME.fullmatch(line):
            frames.append(line.strip())
        elif frames and not line.startswith(" "):
            found = _TYPE.match(line)
            outlines.append(f"{'; '.join(frames)}: {found[0] if found else 'an exception'}")
            frames = []
    return "\n".join([*outlines, *frames])


def _without_messages(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Outline the tracebacks of an event: this process' own, and those that workers have sent."""
    for name in ("exception", "traceback"):
        if isinstance(event.get(name), str):
            event[name] = outline(event[name])
    return event

"""The log: one JSON object per line on stderr, for records of libraries too.

No line contains file contents or a key. So an exception is logged with its type and its frames but
without its message, since parsers quote the input that they cannot read.
"""

from __future__ import annotations

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_FRAME = re.compile(r'\s+File "[^"]+", line \d+, in \S+')
_TALKATIVE = ("httpx", "httpcore")
"""Libraries that log each address that they ask, whose query may be a secret."""

_TYPE = re.compile(r"[A-Za-z_][\w.]*")


def configure(level: str = "info") -> None:
    """Set up logging for this process.

    Args:
        level: The least level that is logged, as in `CONVLAST_LOG_LEVEL`.

    All lines go through a handler of `logging`: if it cannot write a line, on a full disk or to a
    closed pipe, it drops the line and raises nothing.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
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
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=least, force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Otherwise the handler would print a dropped record to stderr, with its exception's message.
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
    """Outline the tracebacks in an event: this process's own, and those that workers have sent."""
    for name in ("exception", "traceback"):
        if isinstance(event.get(name), str):
            event[name] = outline(event[name])
    return event

"""Every exit status of the command line, and every code that it prints: the lists are closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from convlast import errors
from convlast.errors import ConvlastError, OptionError

PASSED, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

STATUSES = {
    PASSED: "The verdict is `passed` or `passed_with_findings`, or there was nothing to do.",
    FAILED: "The verdict is `failed`; or a gate stopped (`--fail-on`, `--max-error`); or the file "
    "was refused, or the work failed; or something got worse (`convlast compare`); or tensors are "
    "not what a list says (`convlast digest --check`).",
    USAGE: "The command line is wrong, or an option does not fit the file; nothing was written.",
    129: "The terminal was closed (SIGHUP).",
    INTERRUPTED: "The command was interrupted (SIGINT, Ctrl-C).",
    143: "The command was terminated (SIGTERM).",
}
"""The meaning of each exit status."""

EPILOG = (
    "Exit status: 0: passed. 1: failed, refused, stopped at a gate, got worse, or differs from a "
    "list. 2: wrong usage. The last line on stderr says what decided."
)
"""What `--help` says of the statuses."""


@dataclass(frozen=True)
class Row:
    """A code.

    Attributes:
        status: The exit status.
        meaning: What it means, in a sentence.
    """

    status: int
    meaning: str


OWN = {
    "error-not-measured": Row(
        FAILED, "`--max-error` was given, and no error was measured. The artifact is kept."
    ),
    "error-too-large": Row(
        FAILED, "An error is larger than `--max-error` allows. The artifact is kept."
    ),
    "file-error": Row(FAILED, "The system refused to read or write a file."),
    "finding-found": Row(
        FAILED, "The report has a finding that `--fail-on` names. The artifact is kept."
    ),
    "interrupted": Row(INTERRUPTED, "The work was interrupted, and nothing is half written."),
    "no-manifest": Row(FAILED, "No file says that convlast converted it (`convlast report`)."),
    "not-installed": Row(FAILED, "A part of convlast is not installed."),
    "passed": Row(
        PASSED, "The verdict and the gates are good; nothing got worse; the tensors are as listed."
    ),
    "regression-found": Row(FAILED, "Something got worse (`convlast compare`)."),
    "report-not-written": Row(
        FAILED, "The file for the report could not be written; the artifact, if any, is there."
    ),
    "statement-not-written": Row(
        FAILED, "There is no statement, or its file could not be written; the artifact is there."
    ),
    "tensors-differ": Row(
        FAILED, "Tensors are not what the list says (`convlast digest --check`)."
    ),
    "warnings-found": Row(
        FAILED, "The report has warnings, and `--fail-on=warning` was given. The artifact is kept."
    ),
}
"""The codes that only the command line has."""


def table() -> dict[str, Row]:
    """Return each code: those of the library's errors, and those of the command line."""
    library = {kind.code: Row(_status_of(kind), _meaning_of(kind)) for kind in _kinds()}
    return dict(sorted({**library, **OWN}.items()))


def status_of(code: str) -> int:
    """Return the exit status for a code; FAILED for one of a service that is not known here.

    >>> status_of("invalid-option"), status_of("malformed-checkpoint"), status_of("queue-full")
    (2, 1, 1)
    """
    row = table().get(code)
    return row.status if row else FAILED


def _kinds(base: type[ConvlastError] = ConvlastError) -> Iterator[type[ConvlastError]]:
    """Yield the kinds of error that have a code of their own."""
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__ and kind.code != ConvlastError.code:
            yield kind
        yield from _kinds(kind)


def _status_of(kind: type[ConvlastError]) -> int:
    return USAGE if issubclass(kind, OptionError) else FAILED


def _meaning_of(kind: type[ConvlastError]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]

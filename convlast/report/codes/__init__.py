"""The registry of findings: each code with its severity, what it means, and what to do.

A code is a permanent name. Reports of later versions may have more of them.
"""

from __future__ import annotations

from convlast.report.codes import of_artifacts, of_folders, of_layers, of_runs
from convlast.report.codes.kind import FindingKind
from convlast.report.sections import Finding, Severity

FINDINGS: dict[str, FindingKind] = {
    **of_artifacts.FINDINGS,
    **of_layers.FINDINGS,
    **of_folders.FINDINGS,
    **of_runs.FINDINGS,
}
"""The kind of each code, in the order of the documentation."""


def finding(
    code: str, message: str, *, layer: str | None = None, severity: Severity | None = None
) -> Finding:
    """Make a finding of a kind that is in the registry.

    Args:
        code: Its code.
        message: What was found here, and what to do about it.
        layer: The tensor that it is about.
        severity: Its severity, if that is not the usual one.

    Raises:
        KeyError: If the code is not in the registry.
        ValueError: If its kind does not have this severity.

    >>> finding("nothing-to-change", "No stride had to change.").severity
    'info'
    """
    kind = FINDINGS[code]
    if severity not in {None, kind.severity, kind.other}:
        raise ValueError(f"a finding {code} is never of severity {severity}")
    return Finding(code=code, severity=severity or kind.severity, layer=layer, message=message)

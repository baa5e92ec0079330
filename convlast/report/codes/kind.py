"""What is known of all findings with one code."""

from __future__ import annotations

from dataclasses import dataclass

from convlast.report.sections import Severity


@dataclass(frozen=True)
class FindingKind:
    """The entry of a code.

    Attributes:
        severity: The usual severity.
        meaning: What such a finding says, as a sentence.
        cure: What to do about it, as a sentence; empty if nothing needs to be done.
        many: What several of them say together, after their number; empty if one report has only
            one.
        other: Another severity that such a finding may have.
    """

    severity: Severity
    meaning: str
    cure: str = ""
    many: str = ""
    other: Severity | None = None

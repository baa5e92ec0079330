"""The report: one model for the library's result, the worker's answer and the HTTP schema.

Nothing here imports torch, so a service or a pipeline can read a report without it. Its names are
imported when they are first used (PEP 562): not every command needs a report.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convlast.report.document import Report as Report
    from convlast.report.sections import Advice as Advice
    from convlast.report.sections import Artifact as Artifact
    from convlast.report.sections import Decision as Decision
    from convlast.report.sections import Environment as Environment
    from convlast.report.sections import FileSection as FileSection
    from convlast.report.sections import Finding as Finding
    from convlast.report.sections import InputFile as InputFile
    from convlast.report.sections import Kind as Kind
    from convlast.report.sections import Layer as Layer
    from convlast.report.sections import Proof as Proof
    from convlast.report.sections import ReportData as ReportData
    from convlast.report.sections import Role as Role
    from convlast.report.sections import Severity as Severity
    from convlast.report.sections import Status as Status
    from convlast.report.sections import Survival as Survival
    from convlast.report.sections import Verdict as Verdict
    from convlast.report.sections import verdict_of as verdict_of
    from convlast.report.smoke import LayerSmoke as LayerSmoke
    from convlast.report.smoke import Parity as Parity
    from convlast.report.smoke import Range as Range
    from convlast.report.smoke import Smoke as Smoke
    from convlast.report.smoke import Timing as Timing

_NAMES = {
    "document": "Report",
    "sections": """
        Advice Artifact Decision Environment FileSection Finding InputFile Kind Layer Proof
        ReportData Role Severity Status Survival Verdict verdict_of
        """,
    "smoke": "LayerSmoke Parity Range Smoke Timing",
}
_HOME = {name: f"{__name__}.{home}" for home, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a name from its module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found
    return found

"""The report: one model for the library's result, the worker's answer and the HTTP schema.

Nothing here imports torch, so a service or a pipeline can read a report without it.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from convlast.report import saving
from convlast.report.rendering import notebook
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


class Report(ReportData):
    """How a checkpoint, or a model folder, was converted, and the proof that it is right."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, whole or not at all; a file that is there is replaced.

        Args:
            path: The file. Its name says which kind: `.json` (also if it has no ending), or
                `.html` for a page.

        Raises:
            OptionError: If there is no such kind of report.
            OSError: If the file cannot be written.
        """
        saving.save(self, Path(path))

    def __repr__(self) -> str:
        """Say the verdict, the files, and the number of layers of each status."""
        counts = Counter(layer.status for layer in self.layers)
        said = ", ".join(f"{number:,} {status}" for status, number in counts.items())
        made = f" -> {self.artifact.filename!r}" if self.artifact else ""
        return f"<Report {self.verdict}: {self.input.filename!r}{made}; layers: {said or 'none'}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Show the verdict, the four claims and the advice in a notebook."""
        return notebook.render(self)

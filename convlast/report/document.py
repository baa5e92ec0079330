"""The report as an object: what it contains, how it shows itself, and how it is saved."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from convlast.report import saving
from convlast.report.rendering import notebook
from convlast.report.sections import ReportData


class Report(ReportData):
    """How a checkpoint, or a model folder, was converted, and the proof that it is right."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, whole or not at all; a file that is there is replaced.

        Args:
            path: The file. Its name says which kind: `.json` (also if it has no ending), `.html`
                for a page, `.md` for a merge request, `.xml` for a view of tests (JUnit), `.sarif`
                for code scanning.

        Raises:
            OptionError: If there is no such kind of report, or it cannot be put there.
            StorageFullError: If the file system fills up.
            OSError: If it cannot be written for another reason.
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

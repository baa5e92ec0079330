"""Statements for the tests, on conversions that never ran."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from convlast.options import Limits, Options
from convlast.provenance.statement import COMMAND_LINE, Resource, Run, of_report, statement_of
from convlast.report import Report

RECORDED = Path(__file__).parents[1] / "report" / "rendering" / "report.json"
START_S, END_S = 1_800_000_000.0, 1_800_000_007.5


def recorded() -> Report:
    """Return a report that was made on a GPU."""
    return Report.model_validate_json(RECORDED.read_bytes())


def run_of(report: Report | None = None, **more: Any) -> Run:
    """Return what ran."""
    facts: dict[str, Any] = {
        "builder": COMMAND_LINE,
        "source": "model.pt",
        "options": Options(),
        "limits": Limits(),
        "environment": report.environment if report else None,
        "started_at": START_S,
        "finished_at": END_S,
    }
    return Run(**{**facts, **more})


def on_report(report: Report, **more: Any) -> dict[str, Any]:
    """Return the statement on the conversion that a report is about."""
    return of_report(report, run_of(report, **more))


def on_files(files: dict[str, bytes]) -> dict[str, Any]:
    """Return a statement on an artifact with these contents."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    subjects = [Resource(name, sha256) for name, sha256 in digests.items()]
    return statement_of(subjects, [Resource("model.pt", "0" * 64)], [], run_of())


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write the files of an artifact into a new folder, and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder

"""Reports of every kind, made from the recorded one."""

from __future__ import annotations

import json
from pathlib import Path

from convlast.report import Advice, Artifact, FileSection, Finding, InputFile, Report

RECORDED = Path(__file__).parent / "report.json"
HOSTILE = """</code></style><script>alert(1)</script><img src=x onerror='a' "&\x00\u202e"""
CHOICES = {
    "schema_version",
    "verdict",
    "severity",
    "kind",
    "status",
    "values",
    "strides",
    "structure",
    "scope",
    "decision",
    "role",
    "options",
}
"""Fields that have one of a few words; all other text comes from the sender."""


def recorded() -> Report:
    """Return a report with each status, each severity and each kind of smoke."""
    return Report.model_validate_json(RECORDED.read_bytes())


def poisoned(report: Report, text: str = HOSTILE) -> Report:
    """Return the same report, in which every text that is not one of a few words is another."""

    def poison(value: object, field: str = "") -> object:
        if isinstance(value, dict):
            return {k: v if k in CHOICES else poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return text if isinstance(value, str) else value

    return Report.model_validate(poison(json.loads(report.model_dump_json())))


def large(number: int = 500) -> Report:
    """Return a report with so many layers, of which the last is inaccurate in fp16."""
    report = recorded()
    good, bad = report.layers[3], report.layers[2]
    layers = []
    for index in range(number):
        layer = good.model_copy(deep=True)
        layer.name = f"encoder.stages.{index // 10}.blocks.{index % 10}.convolution.weight"
        layer.bytes = 1000 * (index + 1)
        assert layer.smoke is not None
        layer.smoke.parity[0].relative = 1e-6 * (index + 1)
        layers.append(layer)
    layers[-1].smoke = bad.smoke
    return report.model_copy(update={"layers": layers})


def failed() -> Report:
    """Return a report whose artifact was rejected."""
    report = recorded().model_copy(deep=True)
    message = "The converted layer differs from the contiguous one by 0.25, more than 0.001."
    report.findings.append(
        Finding(code="layout-error", severity="error", layer=report.layers[0].name, message=message)
    )
    assert report.layers[0].smoke is not None
    report.layers[0].smoke.status = "failed"
    report.layers[0].smoke.parity[1].relative = 0.25
    report.layers[0].smoke.parity[1].passed = False
    advice = Advice(decision="keep", reasons=["Keep your file.", message], load="unused")
    return report.model_copy(update={"verdict": "failed", "artifact": None, "advice": advice})


def folder(number: int = 3) -> Report:
    """Return the report of a model folder with so many checkpoints, an index and another file."""
    report = recorded()
    files, layers, findings = [], [], []
    for index in range(number):
        path = f"part{index}/model.pt"
        files.append(_section(report, path, "checkpoint"))
        layers += [layer.model_copy(update={"file": path}) for layer in report.layers]
        findings += [found.model_copy(update={"file": path}) for found in report.findings]
    files.append(_section(report, "model.safetensors.index.json", "index"))
    files.append(_section(report, "README.md", "other"))
    updates = {"files": files, "layers": layers, "findings": findings}
    return report.model_copy(update={**updates, "smoke": None, "survival": []})


def _section(report: Report, path: str, role: str) -> FileSection:
    given = InputFile(filename=path.rpartition("/")[2], sha256="0" * 64, bytes=9, container="torch")
    made = Artifact(filename=given.filename, sha256="1" * 64, bytes=9, container="torch")
    parts = {"survival": report.survival, "smoke": report.smoke, "advice": report.advice}
    return FileSection.model_validate(
        {
            "path": path,
            "role": role,
            "verdict": report.verdict if role == "checkpoint" else "passed",
            "input": given,
            "artifact": made,
            "proof": report.proof if role == "checkpoint" else None,
            **(parts if role == "checkpoint" else {}),
        }
    )

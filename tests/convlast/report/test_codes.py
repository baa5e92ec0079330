"""Each code of a finding is explained, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import convlast
import service
from convlast.findings import conversion, smoke
from convlast.report.codes import FINDINGS

MAKERS = {"Finding", "_finding", "_range_finding", "_difference", "Trouble"}
"""Functions that are called with a code, as the first argument or by name."""

FROM_TABLES = {
    *conversion._SKIPPED,
    *(code for code, _ in smoke._CODES.values()),
    *("values-changed", "structure-changed", "strides-wrong"),  # by what the proof compares
    *("layout-error", "fp16-inaccurate", "smoke-skipped"),  # by what a layer's smoke says
}
"""Codes that are looked up in a table when they are used."""


def written_codes() -> Iterator[str]:
    """Yield each code in a call."""
    for package in (convlast, service):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in MAKERS:
                    named = [each.value for each in node.keywords if each.arg == "code"]
                    for value in named or node.args[:1]:
                        if isinstance(value, ast.Constant):
                            yield str(value.value)


def test_each_code_is_explained() -> None:
    """Each code that a report may have is explained, and no other."""
    assert {*written_codes(), *FROM_TABLES} == FINDINGS.keys()


def test_each_explanation_is_a_sentence() -> None:
    """Each explanation is a sentence of one line."""
    for meaning in FINDINGS.values():
        assert meaning[0].isupper() or meaning.startswith(("`", "safetensors", "torch"))
        assert meaning.endswith(".")

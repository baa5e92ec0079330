"""Each code of a finding is explained, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import convlast
import service
from convlast.findings import conversion, smoke
from convlast.report import codes
from convlast.report.codes import FINDINGS, finding

MAKERS = {"finding", "_range_finding", "Trouble"}
"""Functions that are called with a code."""

FROM_TABLES = {
    *conversion._SKIPPED,
    *smoke._CODES.values(),
    *("values-changed", "structure-changed", "strides-wrong"),  # by what the proof compares
    *("layout-error", "fp16-inaccurate", "smoke-skipped"),  # by what a layer's smoke says
    *("optimizer-moment", "not-a-convolution-weight"),  # by where a tensor is
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


def test_nothing_else_makes_findings() -> None:
    """A finding is made by the registry alone, so that none has a code without an entry."""
    for package in (convlast, service):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            calls = [each for each in ast.walk(ast.parse(path.read_text())) if is_made(each)]
            assert not calls or path == Path(str(codes.__file__)), path


def is_made(node: ast.AST) -> bool:
    """Say whether a node of a program makes a finding."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding"


@pytest.mark.parametrize("code", FINDINGS)
def test_each_entry_is_written_in_sentences(code: str) -> None:
    """The meaning and the cure are sentences, and the words for many begin in small letters."""
    kind = FINDINGS[code]
    for sentence in filter(None, (kind.meaning, kind.cure)):
        assert sentence[0].isupper() or sentence.startswith(("`", "safetensors", "torch"))
        assert sentence.endswith(".")
    assert kind.many == kind.many.rstrip(".")
    assert not kind.many or kind.many[0].islower() or kind.many.startswith("5-D")


def test_an_unknown_code_and_a_foreign_severity_are_refused() -> None:
    """A finding has the severity of its kind, or its other one, and no other."""
    assert finding("fp16-underflow", "m", severity="info").severity == "info"
    assert finding("fp16-underflow", "m").severity == "warning"
    with pytest.raises(ValueError, match="never of severity error"):
        finding("fp16-underflow", "m", severity="error")
    with pytest.raises(KeyError):
        finding("nonsense", "m")

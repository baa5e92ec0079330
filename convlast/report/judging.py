"""Judges a comparison: what of its changes is better or worse, and not only different.

Each rule holds in both directions, so that what is worse from one report to the other is better the
other way round. docs/gates.md lists the rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

from pydantic import JsonValue

from convlast.report.changes import (
    Comparison,
    ErrorChange,
    FieldChange,
    FindingChanges,
    Judgement,
    LayerChanges,
    SurvivalChange,
    TimeChange,
    Trend,
)
from convlast.report.rendering import notation

_HAS_LAYOUT = {"converted", "already", "convertible"}
_REACHES = {"model": 2, "layers": 1, "none": 0}
"""How much of a model a smoke runs."""


def judge(found: Comparison) -> Iterator[Judgement]:
    """Yield what is better or worse, in the order of the parts."""
    if found.verdict != "same":
        change = f"{found.before.verdict} → {found.after.verdict}"
        yield _judgement("verdict", found.verdict, "", change)
    yield from _findings(found.findings)
    yield from _layers(found.layers, is_same_input=found.same_input)
    yield from map(_error, found.errors.changed)
    if found.before.gpu == found.after.gpu:  # another GPU is not a better or worse one
        for time in found.times.changed:
            yield from _time(time, found.tolerance.max_slowdown)
    yield from (_loading(each) for each in found.survival.changed if each.trend != "same")
    if not found.options:  # otherwise it was asked for
        # Of a folder its files have the smoke, and the whole has none.
        are_alike = bool(found.before.files) == bool(found.after.files)
        facts = [each for each in found.facts if are_alike or each.field != "smoke"]
        yield from _evidence("", facts)
        for file in found.files.changed:
            yield from _evidence(file.path, file.changes)


def _judgement(part: str, trend: Trend, about: str, message: str) -> Judgement:
    return Judgement.model_validate(
        {"part": part, "trend": trend, "about": about, "message": message}
    )


def _findings(found: FindingChanges) -> Iterator[Judgement]:
    """Judge findings by how many there are: a layer with another name may have the same one."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: {"error": 0, "warning": 0, "info": 0})
    for change, findings in ((1, found.came), (-1, found.went)):
        for each in findings:
            counts[each.code][each.severity] += change
    for code, count in counts.items():
        for severity in ("error", "warning"):
            if number := count[severity]:
                trend: Trend = "worse" if number > 0 else "better"
                more = "more" if number > 0 else "fewer"
                said = notation.count(abs(number), f"{more} {severity}")
                yield _judgement("findings", trend, code, said)
                break  # a warning in place of an error is better


def _layers(found: LayerChanges, *, is_same_input: bool) -> Iterator[Judgement]:
    """Judge layers by whether they are skipped; of the same file none may come or go."""
    for layer in found.changed:
        for change in layer.changes:
            states = {str(change.before), str(change.after)}
            if change.field == "status" and "skipped" in states and states & _HAS_LAYOUT:
                trend: Trend = "worse" if change.after == "skipped" else "better"
                about = _placed(layer.name, layer.file)
                yield _judgement("layers", trend, about, f"{change.before} → {change.after}")
    if not is_same_input:
        return
    moves: tuple[Literal["worse", "better"], ...] = ("worse", "better")
    for trend, layers in zip(moves, (found.went, found.came), strict=True):
        for lone in layers:
            if lone.status in _HAS_LAYOUT:
                said = "is in the report no more" if trend == "worse" else "is in the report now"
                yield _judgement("layers", trend, _placed(lone.name, lone.file), said)


def _error(change: ErrorChange) -> Judgement:
    numbers = " → ".join(map(notation.magnitude, (change.before, change.after)))
    about = _placed(change.layer or "the whole model", change.file)
    return _judgement("errors", change.trend, about, f"{change.pair}: {numbers}")


def _loading(change: SurvivalChange) -> Judgement:
    about = _placed(change.route, change.file)
    return _judgement("survival", change.trend, about, f"{change.before} → {change.after}")


def _time(change: TimeChange, most: float) -> Iterator[Judgement]:
    """Judge times that a GPU gave, if they were stable."""
    before, after = change.before, change.after
    if not (change.representative and before.stable and after.stable):
        return
    about = _placed(notation.shape(change.input_shape or []) or "the model", change.file)
    under = "autocast" if change.autocast else change.dtype
    if change.converted != "same":
        times = " → ".join(map(notation.duration, (before.converted_s, after.converted_s)))
        yield _judgement("times", change.converted, about, f"{under}: {times}, converted")
    least, largest = sorted((before.speedup, after.speedup))
    is_clear = largest > least * (1 + most)
    if is_clear and change.speedup != "same" and change.converted in {"same", change.speedup}:
        said = f"{under}: {before.speedup:.2f} → {after.speedup:.2f} times as fast as contiguous"
        yield _judgement("times", change.speedup, about, said)


def _evidence(path: str, changes: list[FieldChange]) -> Iterator[Judgement]:
    """Judge by how much was run, and whether there is a proof: else nothing is proved."""
    for change in changes:
        sides = change.before, change.after
        if change.field == "proof":  # one of both has none
            trend: Trend = "worse" if change.after is None else "better"
            yield _judgement("proof", trend, path, " → ".join(map(_is_there, sides)))
        elif change.field in {"smoke", "smoke.scope"}:
            old, new = map(_scope, sides)
            if _REACHES[old] != _REACHES[new]:
                trend = "worse" if _REACHES[new] < _REACHES[old] else "better"
                yield _judgement("smoke", trend, path, f"{old} → {new}")


def _is_there(section: JsonValue) -> str:
    return "none" if section is None else "a proof"


def _scope(smoke: JsonValue) -> str:
    """Return how much was run, given the smoke of a report or its scope.

    >>> _scope(None), _scope("layers"), _scope({"scope": "model"})
    ('none', 'layers', 'model')
    """
    scope = smoke.get("scope") if isinstance(smoke, dict) else smoke
    return scope if isinstance(scope, str) and scope in _REACHES else "none"


def _placed(name: str, file: str | None) -> str:
    return f"{name} in {file}" if file else name

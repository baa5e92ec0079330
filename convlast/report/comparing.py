"""Compares two reports: what came, went or changed, and whether it is better or worse.

The reports may be of any verbs, versions and kinds of input. A thing that only one of them has is
a change. Errors and times that only one of them has are counted: it depends on the options whether
they are measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, JsonValue
from pydantic_core import to_jsonable_python

from convlast.report.changes import (
    Comparison,
    FieldChange,
    FileChange,
    FileChanges,
    FindingChange,
    FindingChanges,
    Kept,
    LayerChange,
    LayerChanges,
    LayerName,
    Side,
    SurvivalChange,
    SurvivalChanges,
    Tolerance,
    Trend,
)
from convlast.report.judging import judge
from convlast.report.matching import matched
from convlast.report.sections import FileSection, Finding, Layer, ReportData, Survival, Verdict
from convlast.report.trends import DEFAULT, compare_errors, compare_times, trend_of

_INPUT = ("filename", "sha256", "bytes", "container", "tensors_sha256", "wrapper")
_ARTIFACT = ("filename", "sha256", "bytes", "container", "tensors_sha256", "unchanged")
_PROOF = ("tensors", "values", "strides", "structure")
_SMOKE = ("scope", "dtype", "device", "status", "reason", "model", "entry", "input_shape")
_PERMUTATIONS = ("number", "bytes")
_LAYER = (
    *("kind", "shape", "dtype", "groups", "stride_before", "stride_after"),
    *("status", "reason", "bytes", "alias_of"),
)
_LAYER_SMOKE = ("status", "reason", "finite", "output_memory_format")

_GRAVITY: dict[Verdict, int] = {"passed": 0, "passed_with_findings": 1, "failed": 2}


def compare(before: ReportData, after: ReportData, tolerance: Tolerance = DEFAULT) -> Comparison:
    """Compare two reports, and judge what became better or worse.

    A report compared with itself has no change. The reports in the other order have the same
    changes, the other way round.

    Args:
        before: The older report.
        after: The newer report.
        tolerance: How much may change before it is better or worse.
    """
    parts = {
        "facts": [*_facts(before, after)],
        "options": [*_fields("", before.options, after.options)],
        "environment": [*_fields("", before.environment, after.environment)],
        "findings": _findings(before.findings, after.findings),
        "layers": _layers(before.layers, after.layers),
        "errors": compare_errors(before, after, tolerance),
        "times": compare_times(before, after, tolerance),
        "survival": _survival(before, after),
        "files": _files(before.files, after.files),
    }
    found = Comparison.model_validate(
        {
            "tolerance": tolerance,
            "before": _side(before),
            "after": _side(after),
            "changed": any(map(_is_change, parts.values())),
            "verdict": trend_of(_GRAVITY[before.verdict], _GRAVITY[after.verdict]),
            "same_input": before.input.sha256 == after.input.sha256,
            **parts,
        }
    )
    judged = [*judge(found)]
    return found.model_copy(
        update={
            "regressions": [each for each in judged if each.trend == "worse"],
            "improvements": [each for each in judged if each.trend == "better"],
        }
    )


def _is_change(part: object) -> bool:
    """Return whether a part of a comparison has more than a number of unchanged things."""
    if isinstance(part, BaseModel):
        return any(found for name, found in part if name != "unchanged")
    return bool(part)


def _side(report: ReportData) -> Side:
    environment = report.environment
    return Side(
        schema_version=report.schema_version,
        filename=report.input.filename,
        sha256=report.input.sha256,
        verdict=report.verdict,
        made_at=report.made_at,
        job_id=report.job_id,
        convlast=environment.convlast,
        torch=environment.torch,
        device=environment.device,
        gpu=environment.gpu,
        layers=len(report.layers),
        files=len(report.files),
    )


def _facts(
    before: ReportData | FileSection, after: ReportData | FileSection
) -> Iterator[FieldChange]:
    """Yield what differs in the report on a file, or on a whole folder, beside its lists."""
    if before.verdict != after.verdict:
        yield FieldChange(field="verdict", before=before.verdict, after=after.verdict)
    yield from _fields("input", before.input, after.input, _INPUT)
    yield from _fields("artifact", before.artifact, after.artifact, _ARTIFACT)
    yield from _fields("proof", before.proof, after.proof, _PROOF)
    yield from _fields("smoke", before.smoke, after.smoke, _SMOKE)
    if before.smoke and after.smoke:
        old_flips, new_flips = before.smoke.permutations, after.smoke.permutations
        yield from _fields("smoke.permutations", old_flips, new_flips, _PERMUTATIONS)
    old, new = (part.advice.decision if part.advice else None for part in (before, after))
    if old != new:
        yield FieldChange(field="advice.decision", before=old, after=new)


def _fields(
    path: str, before: BaseModel | None, after: BaseModel | None, names: Iterable[str] = ()
) -> Iterator[FieldChange]:
    """Yield the fields of a section that differ; a section that only one report has is one change.

    Args:
        path: The path of the section in the report; empty leaves it out.
        before: The section in one report.
        after: The section in the other report.
        names: The fields to compare; by default all.
    """
    if before is after:
        return
    if before is None or after is None:
        yield FieldChange(field=path, before=_dump(before, names), after=_dump(after, names))
        return
    for name in names or type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield FieldChange(
                field=f"{path}.{name}" if path else name,
                before=to_jsonable_python(old),
                after=to_jsonable_python(new),
            )


def _dump(section: BaseModel | None, names: Iterable[str]) -> dict[str, JsonValue] | None:
    return None if section is None else section.model_dump(mode="json", include=set(names) or None)


def _findings(before: list[Finding], after: list[Finding]) -> FindingChanges:
    """Match findings word for word, and the others if only their messages differ."""
    same, old, new = matched(before, after, lambda each: (*_subject(each), each.message))
    pairs, went, came = matched(old, new, _subject)
    changed = [
        FindingChange(
            code=first.code,
            severity=first.severity,
            layer=first.layer,
            file=first.file,
            before=first.message,
            after=second.message,
        )
        for first, second in pairs
    ]
    return FindingChanges(came=came, went=went, changed=changed, unchanged=len(same))


def _subject(finding: Finding) -> tuple[str | None, ...]:
    return finding.code, finding.severity, finding.layer, finding.file


def _layers(before: list[Layer], after: list[Layer]) -> LayerChanges:
    both, went, came = matched(before, after, lambda each: (each.file, each.wrapper, each.name))
    changed = [
        LayerChange(name=new.name, wrapper=new.wrapper, file=new.file, changes=changes)
        for old, new in both
        if (changes := [*_layer_changes(old, new)])
    ]
    return LayerChanges(
        came=[*map(_layer_name, came)],
        went=[*map(_layer_name, went)],
        changed=changed,
        unchanged=len(both) - len(changed),
    )


def _layer_changes(before: Layer, after: Layer) -> Iterator[FieldChange]:
    """Yield what differs of a layer, apart from its errors, which `compare_errors` compares."""
    yield from _fields("", before, after, _LAYER)
    yield from _fields("smoke", before.smoke, after.smoke, _LAYER_SMOKE)


def _layer_name(layer: Layer) -> LayerName:
    names = LayerName.model_fields
    return LayerName.model_validate({name: getattr(layer, name) for name in names})


def _survival(before: ReportData, after: ReportData) -> SurvivalChanges:
    """Compare the ways of loading, those of a model folder by file."""
    both, went, came = matched(_routes(before), _routes(after), lambda each: each[:2])
    pairs = [(file, route, old, new) for (file, route, old), (_, _, new) in both]
    pairs += [(file, route, old, None) for file, route, old in went]
    pairs += [(file, route, None, new) for file, route, new in came]
    changed = [
        SurvivalChange(
            file=file, route=route, before=old, after=new, trend=_trend_of_loading(old, new)
        )
        for file, route, old, new in pairs
        if old != new
    ]
    return SurvivalChanges(changed=changed, unchanged=len(pairs) - len(changed))


def _routes(report: ReportData) -> Iterator[tuple[str | None, str, Kept | None]]:
    for route in report.survival:
        yield None, route.route, _kept(route)
    for section in report.files:
        for route in section.survival:
            yield section.path, route.route, _kept(route)


def _kept(route: Survival) -> Kept:
    if route.survives is None:
        return "not tried"
    if route.always_lost:
        return "never kept"
    return "kept" if route.survives else "lost"


def _trend_of_loading(before: Kept | None, after: Kept | None) -> Trend:
    """Say whether a way of loading has lost the layout, or keeps it now.

    >>> _trend_of_loading("kept", "lost"), _trend_of_loading("lost", None)
    ('worse', 'same')
    """
    if (before, after) == ("kept", "lost"):
        return "worse"
    return "better" if (before, after) == ("lost", "kept") else "same"


def _files(before: list[FileSection], after: list[FileSection]) -> FileChanges:
    both, went, came = matched(before, after, lambda each: each.path)
    changed = [
        FileChange(path=new.path, changes=changes)
        for old, new in both
        if (changes := [*_file_changes(old, new)])
    ]
    return FileChanges(
        came=[each.path for each in came],
        went=[each.path for each in went],
        changed=changed,
        unchanged=len(both) - len(changed),
    )


def _file_changes(before: FileSection, after: FileSection) -> Iterator[FieldChange]:
    if before.role != after.role:
        yield FieldChange(field="role", before=before.role, after=after.role)
    yield from _facts(before, after)

"""The parts of a comparison of two reports, and their fields.

`before` and `after` are the two reports, in the order in which they were given. A value of null
means that the report does not have it. Names, units and strides are those of a report.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from convlast.options.asked import Asked
from convlast.report.sections import Filename, Finding, Status, Verdict

Trend = Literal["better", "worse", "same"]
Kept = Literal["kept", "lost", "never kept", "not tried"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Tolerance(Asked):
    """How much may change before it is better or worse."""

    max_error_growth: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    """Errors within this factor of each other are the same: other kernels sum in another order."""

    max_slowdown: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    """Times within this share of each other are the same, and within their spreads in any case.
    Clocks change by a tenth with the temperature."""


class Side(_Model):
    """One of the two reports, in short."""

    schema_version: str
    filename: Filename
    sha256: str
    """The digest of the input."""
    verdict: Verdict
    made_at: str | None = None
    job_id: str | None = None
    convlast: str
    torch: str
    device: str
    gpu: str | None = None
    layers: int
    """How many layers it has."""
    files: int
    """How many files of a model folder it has; 0 for a single file."""


class FieldChange(_Model):
    """A field with different values in the two reports."""

    field: str
    """Its path in the report, such as `proof.values`."""
    before: JsonValue
    after: JsonValue


class FindingChange(_Model):
    """A finding that both reports have, with different messages."""

    code: str
    severity: str
    layer: str | None = None
    file: str | None = None
    before: str
    after: str


class FindingChanges(_Model):
    """The findings that came, went, or have another message."""

    came: list[Finding] = Field(default_factory=list)
    """Only in the report `after`."""
    went: list[Finding] = Field(default_factory=list)
    """Only in the report `before`."""
    changed: list[FindingChange] = Field(default_factory=list)
    unchanged: int = 0


class LayerName(_Model):
    """A layer that only one of the reports has."""

    name: str
    wrapper: str | None = None
    file: str | None = None
    shape: list[int]
    dtype: str
    status: Status


class LayerChange(_Model):
    """A layer that both reports have, with different facts."""

    name: str
    wrapper: str | None = None
    file: str | None = None
    changes: list[FieldChange]


class LayerChanges(_Model):
    """The layers that came, went, or changed. Layers are matched by file, wrapper and name."""

    came: list[LayerName] = Field(default_factory=list)
    went: list[LayerName] = Field(default_factory=list)
    changed: list[LayerChange] = Field(default_factory=list)
    unchanged: int = 0


class ErrorChange(_Model):
    """A relative error that is clearly larger or smaller, or passes in one report only."""

    layer: str | None = None
    """The layer; null for the whole model."""
    wrapper: str | None = None
    file: str | None = None
    pair: str
    """What is compared, as in `Parity`."""
    samples: int | None = None
    before: float | None
    """The relative error; null if it is not finite."""
    after: float | None
    passed_before: bool | None
    passed_after: bool | None
    threshold: float
    """The largest error that passes, in the report `after`."""
    factor: float | None = None
    """`after` over `before`; null if one is not finite, or `before` is 0."""
    trend: Trend


class ErrorChanges(_Model):
    """The errors that changed.

    Two errors are the same if both pass or both fail, and they are within a factor of 2 of each
    other or both below an eighth of their thresholds, where rounding makes the difference.
    """

    changed: list[ErrorChange] = Field(default_factory=list)
    unchanged: int = 0
    only_before: int = 0
    """How many errors were measured for the report `before` only."""
    only_after: int = 0


class TimePoint(_Model):
    """The times of one setting in one report."""

    contiguous_s: float
    converted_s: float
    speedup: float
    spread: float
    stable: bool


class TimeChange(_Model):
    """The times of one setting, if they differ by more than their spread."""

    file: str | None = None
    input_shape: list[int] | None = None
    dtype: str
    autocast: bool
    cudnn_benchmark: bool | None
    representative: bool
    """False on a CPU, whose times say nothing about a GPU."""
    before: TimePoint
    after: TimePoint
    speedup: Trend
    """`better` or `worse` if the speedup changed by more than both spreads together."""
    converted: Trend
    """`better` or `worse` if the converted model runs in less or more time, by more than both
    spreads and a tenth."""


class TimeChanges(_Model):
    """The times that changed. Settings are matched by input, precision and cuDNN's mode."""

    changed: list[TimeChange] = Field(default_factory=list)
    unchanged: int = 0
    only_before: int = 0
    """How many settings were timed for the report `before` only."""
    only_after: int = 0


class SurvivalChange(_Model):
    """A way of loading with another result."""

    route: str
    file: str | None = None
    before: Kept | None
    """Null if the report does not have this way of loading."""
    after: Kept | None
    trend: Trend


class SurvivalChanges(_Model):
    """The ways of loading with another result."""

    changed: list[SurvivalChange] = Field(default_factory=list)
    unchanged: int = 0


class FileChange(_Model):
    """A file of a model folder that both reports have, with different facts."""

    path: str
    changes: list[FieldChange]


class FileChanges(_Model):
    """The files of a model folder that came, went, or changed. They are matched by path."""

    came: list[str] = Field(default_factory=list)
    went: list[str] = Field(default_factory=list)
    changed: list[FileChange] = Field(default_factory=list)
    unchanged: int = 0


class Judgement(_Model):
    """Something that is better or worse, and not only different."""

    part: str
    """The part of the comparison: `verdict`, `findings`, `layers`, `errors`, `times`, `survival`,
    `smoke` where less or more was run, or `proof` where only one report has one."""
    trend: Literal["better", "worse"]
    about: str
    """The finding, layer, file or way of loading; empty for the whole."""
    message: str


class Comparison(_Model):
    """What changed between two reports.

    Wall times, dates and the ids of jobs and requests are not compared.
    """

    before: Side
    after: Side
    changed: bool
    """Whether anything below differs."""
    verdict: Trend
    same_input: bool
    """Whether both inputs have the same bytes."""
    tolerance: Tolerance = Tolerance()
    """The limits within which errors and times are the same."""
    regressions: list[Judgement] = Field(default_factory=list)
    """What got worse."""
    improvements: list[Judgement] = Field(default_factory=list)
    """What got better."""
    facts: list[FieldChange] = Field(default_factory=list)
    """The verdict, the input, the artifact, the proof, the smoke and the advice; for a model folder
    those of the whole."""
    options: list[FieldChange] = Field(default_factory=list)
    environment: list[FieldChange] = Field(default_factory=list)
    """The versions and the device."""
    findings: FindingChanges = FindingChanges()
    layers: LayerChanges = LayerChanges()
    errors: ErrorChanges = ErrorChanges()
    times: TimeChanges = TimeChanges()
    survival: SurvivalChanges = SurvivalChanges()
    files: FileChanges = FileChanges()

    @property
    def trends(self) -> set[Trend]:
        """The directions in which something went."""
        return {each.trend for each in (*self.regressions, *self.improvements)}

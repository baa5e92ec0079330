"""The report: the library's result, the worker's answer and the HTTP schema are this one model.

Nothing here imports torch, so that a service or a pipeline can read a report without it.
Names follow PyTorch. Strides are in elements, sizes in bytes, times in seconds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from convlast.options import Options

SCHEMA_VERSION: Literal["1.0"] = "1.0"
"""Raised by one in the second place when fields are added, in the first when one changes."""

Verdict = Literal["passed", "passed_with_findings", "failed"]
Severity = Literal["error", "warning", "info"]
Status = Literal["converted", "already", "kept", "skipped", "convertible"]
Kind = Literal["Conv3d", "ConvTranspose3d", "unknown"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Finding(_Model):
    """Something a person should know."""

    code: str
    """What it is, as a permanent name in kebab-case."""
    severity: Severity
    """`error` fails the verdict, `warning` makes it `passed_with_findings`, `info` does neither."""
    layer: str | None = None
    """The tensor it is about, where it is about one."""
    message: str
    """What was found and what to do about it."""


class InputFile(_Model):
    """The file that was given."""

    filename: str
    """Its name, without the folder."""
    sha256: str
    """The digest of its bytes, in hexadecimal."""
    bytes: int
    """Its size."""
    container: str
    """The kind of file: `torch`, `torch-legacy`, `safetensors`, `torchscript` or `program`."""
    wrapper: str | None = None
    """Path of the dict that holds most convolution weights; null where it is the file itself."""


class Artifact(_Model):
    """The file that was made."""

    filename: str
    """Its name, without the folder."""
    sha256: str
    """The digest of its bytes, in hexadecimal."""
    bytes: int
    """Its size."""
    container: str
    """The kind of file: `torch`, `safetensors`, `torchscript` or `program`."""
    unchanged: bool = False
    """True where nothing had to change: the artifact is the input, byte for byte."""


class Environment(_Model):
    """What it ran on. A null field is something that is absent here."""

    convlast: str
    python: str
    torch: str
    cuda: str | None = None
    """The CUDA version that torch was built for."""
    cudnn: str | None = None
    """The cuDNN version loaded at run time."""
    device: str
    """The device that converted and smoked, e.g. `cpu` or `cuda:0`."""
    gpu: str | None = None
    compute_capability: str | None = None
    driver: str | None = None
    cpu: str | None = None
    platform: str


class Parity(_Model):
    """How far two runs of the same thing agree."""

    pair: str
    """What is compared: `dtype` (fp16 against fp32, both contiguous) or `layout` (fp16
    channels-last against fp16 contiguous)."""
    layer: str | None = None
    """The layer it was found in, where it is the worst of several."""
    max_abs: float | None
    """The largest absolute difference; null where none is finite."""
    mean_abs: float | None
    """The mean absolute difference; null where it is not finite."""
    relative: float | None
    """`max_abs` over the largest absolute value of the reference."""
    cosine: float | None
    """The cosine of the angle between both outputs, flattened."""
    nan: int = 0
    """NaN values in the run under test where the reference has none."""
    inf: int = 0
    """Infinite values in the run under test where the reference has none."""
    threshold: float
    """The largest `relative` that passes."""
    passed: bool


class LayerSmoke(_Model):
    """One convolution, run alone in fp16."""

    status: Literal["passed", "inaccurate", "failed", "skipped"]
    """`inaccurate`: fp16 itself is off, in any layout. `failed`: the layout is to blame."""
    reason: str | None = None
    input_shape: list[int] | None = None
    """(N, C, D, H, W)"""
    assumed: list[str] = Field(default_factory=list)
    """Parameters of the convolution that the file does not tell, and the value taken."""
    finite: bool | None = None
    """Whether the converted fp16 run gave finite values only."""
    output_memory_format: str | None = None
    """The layout that came out of the converted run: `channels_last_3d`, `contiguous_format`,
    `both` where the shape leaves no difference, or `strided` for neither."""
    parity: list[Parity] = Field(default_factory=list)


class Range(_Model):
    """How a tensor's values fit into fp16."""

    name: str
    absmax: float | None
    """The largest absolute value; null where it is not finite."""
    numel: int
    overflow: int
    """Finite values that become infinite."""
    underflow: int
    """Values other than zero that become zero."""
    nonfinite: int = 0
    """Values that are not finite to begin with."""


class Layer(_Model):
    """One convolution weight and its owner."""

    name: str
    """Its key in the state dict; behind the path of the state dict where a file has several."""
    wrapper: str | None = None
    """Path of the state dict it is in; null where that is the file itself."""
    kind: Kind
    """The module that owns it, as far as the file tells."""
    evidence: str
    """What that is concluded from."""
    shape: list[int]
    """(O, I / groups, D, H, W) of a Conv3d, (I, O / groups, D, H, W) of a ConvTranspose3d."""
    dtype: str
    groups: int | None = None
    """Null where the file does not tell."""
    stride_before: list[int]
    stride_after: list[int]
    status: Status
    """`converted`, `already` (had these strides), `kept` (not selected), `skipped` (cannot be
    converted without harm), or `convertible` (by `inspect`, which converts nothing)."""
    reason: str | None = None
    """Why it was skipped, as a permanent name in kebab-case."""
    bytes: int
    alias_of: str | None = None
    """The layer whose storage it shares, element for element; converted once, together."""
    smoke: LayerSmoke | None = None


class Proof(_Model):
    """What was checked on the bytes that were written, by loading them anew."""

    tensors: int
    """Tensors compared with the input's, bit for bit."""
    values: Literal["identical", "different", "cast"]
    """`cast` where the caller asked for another dtype: each value is the input's, rounded."""
    strides: Literal["exact", "wrong"]
    """Whether each stride is the one PyTorch's own function gives."""
    structure: Literal["identical", "different"]
    """Keys, order, aliases, dtypes, device tags, `requires_grad`."""


class Survival(_Model):
    """Whether the layout is still there after one way of loading."""

    route: str
    """The way, as code."""
    survives: bool | None
    """Null where it was not tried."""
    message: str


class Flip(_Model):
    """A module that changes the memory format on the way through."""

    module: str
    input_memory_format: str
    output_memory_format: str


class Timing(_Model):
    """What the layout costs or gains in time on this device."""

    contiguous_s: float
    converted_s: float
    speedup: float
    spread: float
    """Half the distance of the quartiles of the ratio."""
    representative: bool
    """False on a CPU: no advice on speed is drawn from it."""


class Smoke(_Model):
    """The fp16 inference."""

    scope: Literal["model", "layers", "none"]
    dtype: str
    """`float16`, or `float16 (emulated: float32 accumulation)` on a CPU."""
    device: str
    status: Literal["passed", "passed_with_findings", "failed", "skipped"]
    parity: list[Parity] = Field(default_factory=list)
    """The worst of each pair over all layers, or the whole model's."""
    range: list[Range] = Field(default_factory=list)
    """Tensors with values that fp16 cannot hold."""
    flips: list[Flip] = Field(default_factory=list)
    timing: Timing | None = None


class Advice(_Model):
    """What to do with the result."""

    decision: Literal["convert", "keep", "undecided"]
    """`undecided` where nothing was measured on a GPU."""
    reasons: list[str]
    load: str
    """The lines that load the artifact with its layout."""


class Report(_Model):
    """What was done to a checkpoint, and the proof that it is right."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    verdict: Verdict
    findings: list[Finding] = Field(default_factory=list)
    input: InputFile
    artifact: Artifact | None = None
    """Null for `inspect`, and where the artifact was rejected."""
    options: Options
    environment: Environment
    layers: list[Layer]
    proof: Proof | None = None
    survival: list[Survival] = Field(default_factory=list)
    smoke: Smoke | None = None
    advice: Advice | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time of each stage."""


def verdict_of(findings: list[Finding]) -> Verdict:
    """Draw the verdict from the findings.

    >>> verdict_of([Finding(code="fp16-overflow", severity="warning", message="...")])
    'passed_with_findings'
    """
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "failed"
    return "passed_with_findings" if "warning" in severities else "passed"

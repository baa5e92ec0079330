"""The parts of a report, and their fields.

Names follow PyTorch. Strides are in elements, sizes in bytes, times in seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from convlast.options import Options
from convlast.report.smoke import Flip as Flip
from convlast.report.smoke import LayerSmoke as LayerSmoke
from convlast.report.smoke import Parity as Parity
from convlast.report.smoke import Range as Range
from convlast.report.smoke import Smoke as Smoke
from convlast.report.smoke import Timing as Timing

SchemaVersion = Literal["1.0", "1.1"]
SCHEMA_VERSION: SchemaVersion = "1.1"
"""The minor version is raised when fields are added, the major version when one changes."""

Verdict = Literal["passed", "passed_with_findings", "failed"]
Severity = Literal["error", "warning", "info"]
Status = Literal["converted", "already", "kept", "skipped", "convertible"]
Kind = Literal["Conv3d", "ConvTranspose3d", "unknown"]
Decision = Literal["convert", "convert_some", "keep", "undecided"]
Role = Literal["checkpoint", "index", "other"]


def as_text(name: str) -> str:
    r"""Escape the parts of a file's name that are not valid text, which JSON cannot contain.

    >>> as_text("caf\udce9.pt")
    'caf\\udce9.pt'
    """
    return name.encode("utf-8", "backslashreplace").decode()


Filename = Annotated[str, AfterValidator(as_text)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Finding(_Model):
    """Something a person should know."""

    code: str
    """The kind of finding, as a permanent name in kebab-case."""
    severity: Severity
    """`error` fails the verdict, `warning` makes it `passed_with_findings`, `info` does neither."""
    layer: str | None = None
    """The tensor that it is about, if it is about one."""
    file: str | None = None
    """The file of a model folder that it is about, by its path there."""
    message: str
    """What was found and what to do about it."""


class InputFile(_Model):
    """The file, or model folder, that was given."""

    filename: Filename
    """Its name, without the folder it is in."""
    sha256: str
    """The digest of its bytes, in hexadecimal; for a folder, the digest of its listing: a line as
    `sha256sum` prints it for each file, in the order of their paths' bytes."""
    bytes: int
    """Its size; for a folder, that of all its files."""
    container: str
    """The kind of file: `torch`, `torch-legacy`, `safetensors`, `torchscript` or `program`; for a
    model folder: `folder`, `zip-folder`, `tar-folder`, or `sharded` (an index and its shards); for
    a file in one that is not a checkpoint: `other`."""
    tensors_sha256: str | None = None
    """The root of the digests of its tensors, which does not depend on their layout; null if
    `tensor_digests` was not asked for, or the file is none that was opened and has digests."""
    wrapper: str | None = None
    """Path of the dict with most of the convolution weights; null if that is the file itself."""


class Artifact(_Model):
    """The file, or model folder, that was made."""

    filename: Filename
    """Its name, without the folder it is in."""
    sha256: str
    """The digest of its bytes, or of a folder's listing, in hexadecimal."""
    crc32: int | None = None
    """The checksum of its bytes, as a zip archive has it for a member; null for a folder."""
    bytes: int
    """Its size; for a folder, that of all its files."""
    container: str
    """The kind of file, as for the input."""
    tensors_sha256: str | None = None
    """The root of the digests of its tensors, as for the input; the same, unless tensors were
    cast."""
    unchanged: bool = False
    """True if nothing had to change: the artifact is the input, byte for byte."""


class Environment(_Model):
    """The hardware and software of the run. A field is null if the machine has no such thing."""

    convlast: str
    python: str
    torch: str
    cuda: str | None = None
    """The CUDA version that torch was built for."""
    cudnn: str | None = None
    """The cuDNN version loaded at run time; null on a CPU, which uses none."""
    device: str
    """The device that converted and smoked, e.g. `cpu` or `cuda:0`."""
    gpu: str | None = None
    compute_capability: str | None = None
    driver: str | None = None
    cpu: str | None = None
    platform: str


class Layer(_Model):
    """One convolution weight and its owner."""

    name: str
    """Its key in the state dict; after the path of the state dict if the file has several."""
    wrapper: str | None = None
    """Path of the state dict it is in; null if that is the file itself."""
    kind: Kind
    """The kind of module that owns it, as far as the file says."""
    evidence: str
    """How the kind was determined."""
    shape: list[int]
    """(O, I / groups, D, H, W) of a Conv3d, (I, O / groups, D, H, W) of a ConvTranspose3d."""
    dtype: str
    groups: int | None = None
    """Null if the file does not say."""
    stride_before: list[int]
    stride_after: list[int]
    status: Status
    """`converted`, `already` (had these strides), `kept` (not selected), `skipped` (cannot be
    converted without harm), or `convertible` (by `inspect`, which converts nothing)."""
    reason: str | None = None
    """Why it was skipped, as a permanent name in kebab-case."""
    bytes: int
    alias_of: str | None = None
    """The layer whose storage it shares, element for element; both are converted together."""
    file: str | None = None
    """The file of a model folder that it is in, by its path there."""
    smoke: LayerSmoke | None = None


class Proof(_Model):
    """The checks of the written file, made by loading it again."""

    tensors: int
    """Tensors compared with the input's, bit for bit."""
    values: Literal["identical", "different", "cast"]
    """`cast` if the caller asked for another dtype: each value is the input's, rounded."""
    strides: Literal["exact", "wrong"]
    """Whether each stride is the one PyTorch's own function gives."""
    structure: Literal["identical", "different"]
    """Whether keys, order, aliases, dtypes, device tags and `requires_grad` are the same."""


class Survival(_Model):
    """Whether one way of loading keeps the layout."""

    route: str
    """The way of loading, as code."""
    survives: bool | None
    """Null if it was not tried."""
    always_lost: bool = False
    """True if this way loses the layout of every file, as PyTorch and safetensors are made."""
    message: str


class Advice(_Model):
    """What to do with the result."""

    decision: Decision
    """`undecided` if nothing was measured on a GPU."""
    reasons: list[str]
    load: str
    """The lines that load the artifact with its layout."""


class FileSection(_Model):
    """The report on one file of a model folder.

    Its findings and layers are in the report of the whole folder, with its path as their `file`.
    """

    path: str
    """Its path in the folder, with `/` between the parts."""
    role: Role
    """`checkpoint`, `index` (of a sharded checkpoint), or `other` (not opened)."""
    verdict: Verdict
    input: InputFile
    artifact: Artifact | None = None
    """Null for `inspect`, and if the artifact was rejected."""
    proof: Proof | None = None
    survival: list[Survival] = Field(default_factory=list)
    smoke: Smoke | None = None
    advice: Advice | None = None
    seconds: dict[str, float] = Field(default_factory=dict)


class ReportData(_Model):
    """How a checkpoint, or a model folder, was converted, and the proof that it is right."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    made_at: str | None = None
    """When it was made, as ISO 8601 in UTC to the second, such as `2026-01-31T23:59:59Z`; null in
    reports of older versions."""
    job_id: str | None = None
    """The job of the service that made it, as in the log and in `Convlast-Job`; null elsewhere."""
    request_id: str | None = None
    """The request that the job belongs to, as in the log and in `X-Request-ID`; null elsewhere."""
    trace_id: str | None = None
    """The trace of that request, as in the log and in `traceparent`; null if there is none."""
    verdict: Verdict
    findings: list[Finding] = Field(default_factory=list)
    input: InputFile
    artifact: Artifact | None = None
    """Null for `inspect`, and if the artifact was rejected."""
    options: Options
    environment: Environment
    layers: list[Layer]
    proof: Proof | None = None
    survival: list[Survival] = Field(default_factory=list)
    """Empty for a model folder; its files have their own."""
    smoke: Smoke | None = None
    """Null for a model folder; its files have their own."""
    advice: Advice | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time of each stage; for a model folder, over all files."""
    files: list[FileSection] = Field(default_factory=list)
    """A section for each file of a model folder, in its order; empty for a single file."""

    def of_file(self, section: FileSection) -> Self:
        """Return the section of one file as a report on that file alone."""
        return type(self)(
            verdict=section.verdict,
            findings=[found for found in self.findings if found.file == section.path],
            input=section.input,
            artifact=section.artifact,
            options=self.options,
            environment=self.environment,
            layers=[layer for layer in self.layers if layer.file == section.path],
            proof=section.proof,
            survival=section.survival,
            smoke=section.smoke,
            advice=section.advice,
            seconds=section.seconds,
        )


def verdict_of(findings: list[Finding]) -> Verdict:
    """Draw the verdict from the findings.

    >>> verdict_of([Finding(code="fp16-overflow", severity="warning", message="...")])
    'passed_with_findings'
    """
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "failed"
    return "passed_with_findings" if "warning" in severities else "passed"

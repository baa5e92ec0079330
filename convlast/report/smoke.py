"""The smoke's part of the report: what was run, how well it agreed, and how long it took.

Nothing here imports torch. Layouts are `channels_last_3d`, `contiguous_format`, `both` if they do
not differ for a shape, or `strided` for neither; for a tensor that is not 5-D its number of
dimensions, such as `4d`. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from convlast.report.ranges import UNDERFLOW_SHARE as UNDERFLOW_SHARE
from convlast.report.ranges import Activation as Activation
from convlast.report.ranges import Magnitudes as Magnitudes
from convlast.report.ranges import Range as Range
from convlast.report.ranges import has_little_headroom as has_little_headroom

NOISE = 0.01
"""A smaller relative gain does not count."""


def is_in_5d(layout: str) -> bool:
    """Say whether a layout is that of a 5-D tensor.

    >>> is_in_5d("channels_last_3d"), is_in_5d("4d")
    (True, False)
    """
    return not layout[:1].isdecimal()


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Parity(_Model):
    """How well two runs of a layer or a model agree."""

    pair: str
    """What is compared. `dtype`: fp16 against fp32, both contiguous. `layout`: fp16 with converted
    weights against fp16 contiguous. For a whole model also `layout_input` (a channels-last input as
    well), `autocast` (contiguous, against fp32), `autocast_layout` (converted weights against
    contiguous ones, under autocast), and if fp16 is at fault `layout_float32` (converted weights
    against contiguous ones, in fp32, or in TF32 if cuDNN has no other kernel), `bfloat16` and
    `kept_in_float32` (each against fp32)."""
    layer: str | None = None
    """The layer with this parity, if it is the worst of several."""
    samples: int | None = None
    """N of the input, for a whole model."""
    output: str | None = None
    """The model's output with this parity, if it is the worst of several."""
    max_abs: float | None
    """The largest absolute difference; null if none is finite."""
    mean_abs: float | None
    """The mean absolute difference; null if it is not finite."""
    relative: float | None
    """`max_abs` over the largest absolute value of the reference."""
    quantiles: dict[str, float] | None = None
    """Quantiles of the absolute difference, in the unit of `relative`, by `0.5`, `0.9`, `0.99` and
    `0.999`; for a whole model."""
    cosine: float | None
    """The cosine of the angle between both outputs, flattened."""
    nan: int = 0
    """NaN values in the run under test where the reference has none."""
    inf: int = 0
    """Infinite values in the run under test where the reference has none."""
    threshold: float
    """The largest `relative` that passes."""
    passed: bool | None
    """null: undecided. fp16 itself is so far off that its runs differ for that reason alone, and
    `relative` is above the threshold; the runs in fp32 decide."""


class LayerSmoke(_Model):
    """One convolution in fp16: run alone, or inside the model."""

    status: Literal["passed", "inaccurate", "failed", "skipped"]
    """`inaccurate`: fp16 itself is off, in any layout. `failed`: the layout is to blame."""
    reason: str | None = None
    input_shape: list[int] | None = None
    """(N, C, D, H, W)"""
    assumed: list[str] = Field(default_factory=list)
    """Parameters of the convolution that are not in the file, with the assumed values."""
    finite: bool | None = None
    """Whether all output values of the converted fp16 run are finite."""
    output_memory_format: str | None = None
    """The layout of the converted run's output: `channels_last_3d`, `contiguous_format`, `both` if
    they do not differ for its shape, or `strided` for neither."""
    parity: list[Parity] = Field(default_factory=list)


class FirstWrong(_Model):
    """The first module whose fp16 output is wrong, in the order of execution."""

    module: str
    kind: str
    message: str


class KeptInFloat32(_Model):
    """Whether fp16's error goes away if some modules stay in fp32."""

    modules: list[str]
    """The modules, by name; their inputs are cast to fp32, and their outputs to fp16."""
    parity: Parity | None
    """The whole model with these modules in fp32, against fp32; null if it raises."""
    helps: bool
    """Whether the model is right then."""


class Flip(_Model):
    """A module whose output has another memory format than its input: a permutation in memory."""

    module: str
    input_memory_format: str
    output_memory_format: str
    kind: str = ""
    """The class of the module."""
    operator: str = ""
    """PyTorch's operator that permuted."""
    cause: str | None = None
    """For a convolution that has to permute back: the module that broke the chain before it."""
    times: int = 1
    """Permutations in one forward."""
    bytes: int = 0
    """Bytes permuted in one forward."""
    seconds: float | None = None
    """Time of the kernels that only permute, in one forward; null if none were seen, as on a
    CPU."""


class TraceStep(_Model):
    """One module of the chain that activations pass through, or one operator of a program."""

    module: str
    kind: str
    input_memory_format: str
    output_memory_format: str
    permutes: bool = False
    calls: int = 1
    """How many times it ran in one forward."""


class Permutations(_Model):
    """The permutations of a forward with converted weights, against the best case."""

    number: int
    bytes: int
    best_number: int
    """At most one: that of the input, at the first convolution."""
    best_bytes: int


class Dispatch(_Model):
    """The kernels that ran for a convolution."""

    layer: str
    weights: Literal["contiguous", "converted"]
    route: Literal["cudnn-ndhwc", "cudnn-ncdhw", "cudnn", "native", "slow", "unknown"]
    """cuDNN's kernels by layout, PyTorch's own depthwise kernels, or its slow fallback."""
    kernels: list[str]
    """Names of the kernels, the one that ran longest first."""
    seconds: float
    """Time of these kernels in one forward."""


class OperatorTime(_Model):
    """The kernels of one PyTorch operator outside the convolutions, in one forward."""

    operator: str
    weights: Literal["contiguous", "converted"]
    number: int
    """How many kernels ran."""
    seconds: float


class LayoutKernels(_Model):
    """Kernels that only permute, as the profiler saw them."""

    weights: Literal["contiguous", "converted"]
    number: int
    seconds: float
    share: float
    """Their share of the time of all kernels."""


class Timing(_Model):
    """How much faster or slower the layout is on this device."""

    contiguous_s: float
    converted_s: float
    speedup: float
    spread: float
    """Half the interquartile range of the ratio."""
    representative: bool
    """False on a CPU, whose times are not used for advice on speed."""
    stable: bool = True
    """False if the median ratio was not yet stable when the time was up."""
    dtype: str = "float16"
    autocast: bool = False
    cudnn_benchmark: bool | None = None
    """`torch.backends.cudnn.benchmark`; null on a CPU."""
    input_shape: list[int] | None = None
    """The shape of the model's first input."""
    rounds: int = 0
    """Pairs of runs that were timed."""
    contiguous_peak_bytes: int | None = None
    """Peak device memory of a forward, including the model; null on a CPU."""
    converted_peak_bytes: int | None = None
    clock_mhz: int | None = None
    """The GPU's clock rate afterwards, if NVML says it."""

    @property
    def tendency(self) -> int:
        """1 if the converted model gains beyond the noise, -1 if it loses, and 0 if neither."""
        noise = max(self.spread, NOISE)
        return (self.speedup > 1 + noise) - (self.speedup < 1 - noise)


class Choice(_Model):
    """The choice of `select=fastest`."""

    chosen: Literal["all", "none", "some"]
    layers: list[str]
    """The layers that are converted."""
    seconds: dict[str, float]
    """The median forward with `all`, `none` and, if that was chosen, `some` converted."""
    speedup: float
    """How many times as fast the choice is as `none`."""
    spread: float
    halvings: int = 0
    """How many times the input was halved because memory ran out."""


class Smoke(_Model):
    """The fp16 inference."""

    scope: Literal["model", "layers", "none"]
    dtype: str
    """`float16`, or `float16 (emulated: float32 accumulation)` on a CPU."""
    device: str
    status: Literal["passed", "passed_with_findings", "failed", "skipped"]
    reason: str | None = None
    """Why it is `skipped`, or why layers were run instead of the model."""
    model: str | None = None
    """The model that was run."""
    origin: str | None = None
    """How the model was found."""
    entry: str | None = None
    """The method that was run: `forward`, `encode` or `decode`."""
    input_shape: list[int] | None = None
    """The shape of the model's first input."""
    parity: list[Parity] = Field(default_factory=list)
    """The worst parity of each pair over all layers, or the whole model's."""
    range: list[Range] = Field(default_factory=list)
    """Tensors with values that fp16 cannot hold, or only just."""
    magnitudes: list[Magnitudes] = Field(default_factory=list)
    """All tensors that were looked at for `range`, in the order of the file."""
    activations: list[Activation] = Field(default_factory=list)
    """The output of each module, in the order of execution."""
    first_wrong: FirstWrong | None = None
    kept_in_float32: KeptInFloat32 | None = None
    flips: list[Flip] = Field(default_factory=list)
    """Where the converted model permutes, except at the first convolution."""
    trace: list[TraceStep] = Field(default_factory=list)
    """The chain of modules with 5-D or 4-D activations, with converted weights and a contiguous
    input."""
    permutations: Permutations | None = None
    dispatch: list[Dispatch] = Field(default_factory=list)
    dispatch_reason: str | None = None
    """Why `dispatch`, `operators` and `layout_kernels` are empty, if a GPU was used."""
    operators: list[OperatorTime] = Field(default_factory=list)
    layout_kernels: list[LayoutKernels] = Field(default_factory=list)
    timing: Timing | None = None
    """The timing that the advice is based on."""
    timings: list[Timing] = Field(default_factory=list)
    """All timings: several inputs, with and without autocast and cuDNN's benchmark mode."""
    choice: Choice | None = None
    hints: list[str] = Field(default_factory=list)
    """What keeps convolutions from being fast, and what to do about it."""

"""The smoke's part of the report: what was run, how far it agreed, and what it cost.

Nothing here imports torch. Layouts are `channels_last_3d`, `contiguous_format`, `both` where a
shape leaves no difference, or `strided` for neither. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Parity(_Model):
    """How far two runs of the same thing agree."""

    pair: str
    """What is compared. `dtype`: fp16 against fp32, both contiguous. `layout`: fp16 with converted
    weights against fp16 contiguous. Of a whole model also `layout_input` (a channels-last input as
    well), `autocast` (contiguous, against fp32), `autocast_layout` (converted weights against
    contiguous ones, under autocast), and where fp16 is at fault `layout_float32` (converted weights
    against contiguous ones, in fp32, or in TF32 where cuDNN has no other kernel), `bfloat16` and
    `kept_in_float32` (each against fp32)."""
    layer: str | None = None
    """The layer it was found in, where it is the worst of several."""
    samples: int | None = None
    """N of the input, of a whole model."""
    output: str | None = None
    """Which of the model's outputs is the worst, where it has several."""
    max_abs: float | None
    """The largest absolute difference; null where none is finite."""
    mean_abs: float | None
    """The mean absolute difference; null where it is not finite."""
    relative: float | None
    """`max_abs` over the largest absolute value of the reference."""
    quantiles: dict[str, float] | None = None
    """Quantiles of the absolute difference, in the unit of `relative`, by `0.5`, `0.9`, `0.99` and
    `0.999`; of a whole model."""
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
    headroom: float | None = None
    """65504 over `absmax`: how often the values fit into fp16's range; null where that is no
    number."""
    underflow_share: float = 0.0
    """The share of all values that become zero, and were not."""


class Activation(_Model):
    """How the output of one module fits into fp16, and what fp16 made of it."""

    module: str
    kind: str
    """The class of the module, or the operator of a program."""
    absmax: float | None
    """The largest absolute value in fp32; null where it is not finite."""
    headroom: float | None
    """65504 over `absmax`: how often the values fit into fp16's range; below 1 they overflow."""
    overflow: int
    """Values beyond 65504."""
    underflow_share: float
    """The share of values other than zero that become zero, of a sample."""
    relative: float | None = None
    """The largest error of a sample of fp16's output against fp32's, over `absmax`."""


class FirstWrong(_Model):
    """The first module whose fp16 output is wrong, in the order of execution."""

    module: str
    kind: str
    message: str


class KeptInFloat32(_Model):
    """What becomes of fp16's error if some modules stay in fp32."""

    modules: list[str]
    """The modules, by name; inputs are cast to fp32 before, outputs to fp16 behind them."""
    parity: Parity | None
    """The whole model so against fp32; null where it raises."""
    helps: bool
    """Whether the model is right so."""


class Flip(_Model):
    """A module that changes the memory format on the way through: a permutation in memory."""

    module: str
    input_memory_format: str
    output_memory_format: str
    kind: str = ""
    """The class of the module."""
    operator: str = ""
    """PyTorch's operator that permuted."""
    cause: str | None = None
    """For a convolution that has to permute again: the module that broke the chain before it."""
    times: int = 1
    """Permutations in one forward."""
    bytes: int = 0
    """Bytes permuted in one forward."""


class TraceStep(_Model):
    """One module of the chain that activations pass through, or one operator of a program."""

    module: str
    kind: str
    input_memory_format: str
    output_memory_format: str
    permutes: bool = False
    calls: int = 1
    """How often it ran in one forward."""


class Permutations(_Model):
    """What a forward with converted weights permutes, against the best case."""

    number: int
    bytes: int
    best_number: int
    """One: the input, at the first convolution."""
    best_bytes: int


class Dispatch(_Model):
    """Which kernel a convolution ran."""

    layer: str
    weights: Literal["contiguous", "converted"]
    route: Literal["cudnn-ndhwc", "cudnn-ncdhw", "cudnn", "native", "slow", "unknown"]
    """cuDNN's kernels by layout, PyTorch's own depthwise kernels, or its slow fallback."""
    kernels: list[str]
    """Names of the kernels, the longest-running first."""
    seconds: float
    """Time of these kernels in one forward."""


class LayoutKernels(_Model):
    """Kernels that only permute, as the profiler saw them."""

    weights: Literal["contiguous", "converted"]
    number: int
    seconds: float
    share: float
    """Of the time of all kernels."""


class Timing(_Model):
    """What the layout costs or gains in time on this device."""

    contiguous_s: float
    converted_s: float
    speedup: float
    spread: float
    """Half the distance of the quartiles of the ratio."""
    representative: bool
    """False on a CPU: no advice on speed is drawn from it."""
    stable: bool = True
    """False where the medians still moved when the time was up."""
    dtype: str = "float16"
    autocast: bool = False
    cudnn_benchmark: bool | None = None
    """`torch.backends.cudnn.benchmark`; null on a CPU."""
    input_shape: list[int] | None = None
    """Of the model's first input."""
    rounds: int = 0
    """Pairs of runs that were timed."""
    contiguous_peak_bytes: int | None = None
    """Device memory at its highest in a forward, the model included; null on a CPU."""
    converted_peak_bytes: int | None = None
    clock_mhz: int | None = None
    """The GPU's clock afterwards, where NVML tells."""


class Choice(_Model):
    """How `select=fastest` chose."""

    chosen: Literal["all", "none", "some"]
    layers: list[str]
    """The layers that are converted."""
    seconds: dict[str, float]
    """The median forward with `all`, `none` and, where it was another choice, `some` converted."""
    speedup: float
    """Of the choice against `none`."""
    spread: float
    halvings: int = 0
    """How often the input was halved, for want of memory."""


class Smoke(_Model):
    """The fp16 inference."""

    scope: Literal["model", "layers", "none"]
    dtype: str
    """`float16`, or `float16 (emulated: float32 accumulation)` on a CPU."""
    device: str
    status: Literal["passed", "passed_with_findings", "failed", "skipped"]
    reason: str | None = None
    """Why it is `skipped`, or why layers were run and not the model."""
    model: str | None = None
    """The model that was run."""
    origin: str | None = None
    """How it was found."""
    entry: str | None = None
    """The method that was run: `forward`, `encode` or `decode`."""
    input_shape: list[int] | None = None
    """Of the model's first input."""
    parity: list[Parity] = Field(default_factory=list)
    """The worst of each pair over all layers, or the whole model's."""
    range: list[Range] = Field(default_factory=list)
    """Tensors with values that fp16 cannot hold, or hardly."""
    activations: list[Activation] = Field(default_factory=list)
    """The output of each module, in the order of execution."""
    first_wrong: FirstWrong | None = None
    kept_in_float32: KeptInFloat32 | None = None
    flips: list[Flip] = Field(default_factory=list)
    """Where the converted model permutes, apart from the first convolution."""
    trace: list[TraceStep] = Field(default_factory=list)
    """The chain, with converted weights and a contiguous input."""
    permutations: Permutations | None = None
    dispatch: list[Dispatch] = Field(default_factory=list)
    dispatch_reason: str | None = None
    """Why `dispatch` and `layout_kernels` are empty, where a GPU ran."""
    layout_kernels: list[LayoutKernels] = Field(default_factory=list)
    timing: Timing | None = None
    """The one that the advice rests on."""
    timings: list[Timing] = Field(default_factory=list)
    """All of them: several inputs, with and without autocast and cuDNN's own choice by trial."""
    choice: Choice | None = None
    hints: list[str] = Field(default_factory=list)
    """What keeps convolutions from being fast, and what to do about it."""

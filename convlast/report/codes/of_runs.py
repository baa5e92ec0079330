"""How a model does in fp16, and how fast it is."""

from __future__ import annotations

from convlast.report.codes.kind import FindingKind

_FLOAT32 = "Keep these tensors, or the modules they are in, in float32."

FINDINGS = {
    "fp16-inaccurate": FindingKind(
        "warning",
        "A layer, or the model, is inaccurate in fp16 in any layout.",
        "Keep these layers in float32, or use bfloat16.",
        "layers are inaccurate in fp16, in any layout",
    ),
    "fp16-overflow": FindingKind(
        "warning",
        "Values do not fit into fp16 and become infinite.",
        _FLOAT32,
        "tensors have values that become infinite in fp16",
    ),
    "fp16-underflow": FindingKind(
        "warning",
        "Many values become zero in fp16.",
        _FLOAT32,
        "tensors have values that become zero in fp16",
        other="info",
    ),
    "fp16-little-headroom": FindingKind(
        "info",
        "Values are close to the end of fp16's range.",
        "Watch them: other inputs may be larger.",
        "modules give values close to the end of fp16's range",
    ),
    "fp16-emulated": FindingKind(
        "info",
        "The device has no fast fp16 convolution; fp16 was emulated.",
        many="smokes emulated fp16, which this device does not have",
    ),
    "not-finite": FindingKind(
        "warning",
        "Values are NaN or infinite in the checkpoint already.",
        "Look at how the model was trained.",
        "tensors have values that are NaN or infinite already",
    ),
    "smoke-skipped": FindingKind(
        "info",
        "A layer was not run; the message says why.",
        many="layers were not run",
    ),
    "smoke-shrunk": FindingKind(
        "info",
        "Memory ran out; a smaller input was run.",
        "Give a smaller `input_shape`.",
        "smokes ran a smaller input, since memory ran out",
    ),
    "smoke-cut-short": FindingKind(
        "info",
        "`smoke_seconds` ran out; the message says what was not run.",
        "Give more seconds, or a smaller `input_shape`.",
        "smokes were cut short by `smoke_seconds`",
        other="warning",
    ),
    "model-not-run": FindingKind(
        "info",
        "The layers were run one by one, not the model; the message says why.",
        "Give `architecture`.",
        "files had their layers run one by one, not as a model",
    ),
    "model-raises": FindingKind(
        "warning",
        "The model raises in fp32 as well.",
        "Give an `input_shape` that the model takes.",
        "models raise in fp32 as well",
    ),
    "view-in-program": FindingKind(
        "warning",
        "A program calls `torch.view`, which raises on channels-last tensors.",
        "Give `input_shape`, with at least two samples, to have the program run.",
    ),
    "layout-broken": FindingKind(
        "info",
        "A module takes channels-last tensors and returns contiguous ones.",
        many="modules return contiguous tensors, which the next convolution permutes back",
    ),
    "layout-differs-on-cuda": FindingKind(
        "info",
        "GroupNorm keeps the layout on this CPU, but not on CUDA.",
        many="models have a GroupNorm that keeps the layout on this CPU, but not on CUDA",
    ),
    "slow-convolution": FindingKind(
        "warning",
        "PyTorch's slow fallback ran a convolution, not cuDNN.",
        "Look at the advice for what keeps cuDNN from running.",
    ),
    "speedup-missed": FindingKind(
        "error",
        "The measured speed-up is below `min_speedup`.",
        "Keep your file, or convert with `select=fastest`.",
    ),
    "speedup-not-measured": FindingKind(
        "warning",
        "`min_speedup` was given, but nothing could be measured.",
        "Convert on a GPU, with a model to run (`architecture`).",
    ),
    "nothing-gained": FindingKind(
        "warning",
        "The new layout is not faster on this device.",
        "Keep your file, or convert with `select=fastest`.",
    ),
    "speed-unstable": FindingKind(
        "info",
        "The times were not yet stable when the measuring time was up.",
        "Measure again when nothing else uses the device.",
    ),
    "kernels-not-seen": FindingKind(
        "info", "It is not known which kernels ran; the message says why."
    ),
    "gpu-unusable": FindingKind("warning", "torch cannot use the GPU; the CPU was used."),
    "no-cudnn": FindingKind("warning", "PyTorch has no cuDNN here; 3-D convolutions are slow."),
    "no-tensor-cores": FindingKind("warning", "The GPU has no tensor cores for fp16."),
    "cudnn-avoided": FindingKind(
        "warning", "PyTorch does not use this cuDNN for contiguous fp16 convolutions."
    ),
    "cudnn-wrong-results": FindingKind(
        "warning", "This cuDNN gives wrong results for some fp16 convolutions."
    ),
    "report-shortened": FindingKind(
        "info", "The report was too long for an error response, and was shortened."
    ),
}

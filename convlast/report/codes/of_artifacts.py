"""What is wrong with an artifact, or with the model in its layout."""

from __future__ import annotations

from convlast.report.codes.kind import FindingKind

_KEEP = "Keep your file, and report this as a bug of convlast."

FINDINGS = {
    "values-changed": FindingKind(
        "error",
        "A value in the artifact differs from the checkpoint's.",
        _KEEP,
        "tensors have other values than in the checkpoint",
    ),
    "structure-changed": FindingKind(
        "error",
        "A key, an order, an alias or another object was changed.",
        _KEEP,
        "changes of keys, orders, aliases or other objects",
    ),
    "strides-wrong": FindingKind(
        "error",
        "A tensor does not have the strides that PyTorch's own conversion gives it.",
        _KEEP,
        "tensors do not have the strides of PyTorch's own conversion",
    ),
    "program-broken": FindingKind(
        "error",
        "The converted program does not do what the original does.",
        "Keep your file, or convert the state dict that the program was made from.",
    ),
    "layout-error": FindingKind(
        "error",
        "A layer or the model raises or differs in the new layout only.",
        "Keep your file, or leave these layers out (`select`).",
        "layers raise or differ in the new layout only",
    ),
    "layout-breaks-batches": FindingKind(
        "warning",
        "The model raises in the new layout with several samples.",
        "Replace `view` by `reshape` or `flatten` in the module that the message names.",
    ),
    "channels-last-input": FindingKind(
        "warning",
        "The model raises or differs on a channels-last input.",
        "Give the converted model contiguous inputs.",
    ),
}

"""What is not converted, and what else is said of a conversion."""

from __future__ import annotations

from convlast.report.codes.kind import FindingKind

FINDINGS = {
    "weight-norm": FindingKind(
        "warning",
        "A layer is skipped: its weight is recomputed from `weight_g` and `weight_v`.",
        "Remove the weight norm (`torch.nn.utils.remove_weight_norm` or "
        "`remove_parametrizations`), save, and convert.",
        "layers are skipped: weight norm recomputes their weights",
    ),
    "parametrized": FindingKind(
        "warning",
        "A layer is skipped: a parametrization recomputes its weight.",
        "Use `torch.nn.utils.parametrize.remove_parametrizations`, save, and convert.",
        "layers are skipped: parametrizations recompute their weights",
    ),
    "reparametrized": FindingKind(
        "warning",
        "A layer is skipped: spectral norm recomputes its weight.",
        "Remove the spectral norm (`torch.nn.utils.remove_spectral_norm`), save, and convert.",
        "layers are skipped: spectral norm recomputes their weights",
    ),
    "pruned": FindingKind(
        "warning",
        "A layer is skipped: its weight is recomputed from `weight_orig` and `weight_mask`.",
        "Make the pruning permanent (`torch.nn.utils.prune.remove`), save, and convert.",
        "layers are skipped: pruning recomputes their weights",
    ),
    "implausible-kernel": FindingKind(
        "warning",
        "A weight is left alone: its kernel is none of a dense convolution.",
        "Nothing, if these are weights of sparse convolutions, which must stay contiguous.",
        "weights are left alone: no dense convolution has such kernels",
    ),
    "shared-storage": FindingKind(
        "warning",
        "A layer is skipped: another tensor uses some of the same bytes.",
        "Clone the weights before saving.",
        "layers are skipped: other tensors use some of the same bytes",
    ),
    "not-dense": FindingKind(
        "warning",
        "A layer is skipped: its elements do not fill the bytes that they span.",
        "Call `.contiguous()` before saving.",
        "layers are skipped: their elements do not fill the bytes that they span",
    ),
    "quantized": FindingKind(
        "warning",
        "A layer is skipped: it is quantized.",
        many="layers are skipped: they are quantized",
    ),
    "no-data": FindingKind(
        "warning",
        "A layer is skipped: it is on the meta device.",
        "Save the model with its data.",
        "layers are skipped: they are on the meta device, without data",
    ),
    "tensors-left-out": FindingKind(
        "info",
        "Tensors of a program are sparse, quantized or of another kind that is not read. They stay "
        "as they are, and have no digests.",
        many="programs have tensors that are not read, and stay as they are",
    ),
    "not-a-convolution-weight": FindingKind(
        "info",
        "A 5-D tensor is left alone.",
        many="5-D tensors are left alone: their keys are not those of convolution weights",
    ),
    "optimizer-moment": FindingKind(
        "info",
        "A 5-D tensor of an optimizer's state is left alone.",
        many="optimizer moments are left alone",
    ),
    "kind-assumed": FindingKind(
        "info",
        "The file does not say whether weights are Conv3d or ConvTranspose3d weights.",
        many="files do not say whether weights are Conv3d or ConvTranspose3d weights",
    ),
    "nothing-to-change": FindingKind(
        "info",
        "No stride had to change; the artifact is the input.",
        many="files did not have to change",
    ),
    "layout-in-manifest": FindingKind(
        "info",
        "safetensors cannot store strides; the layout is in the metadata.",
        "Load with `convlast.load` or `convlast.load_into`.",
        "files are safetensors, whose layout is in the metadata",
    ),
    "records-dropped": FindingKind(
        "warning",
        "safetensors cannot hold some records of the input; the message names them.",
        "Use `container=torch` to keep them.",
    ),
    "not-cast": FindingKind(
        "warning",
        "Some tensors were not cast to fp16; the message says why.",
        "Save the state dict alone, without shared or negated tensors.",
        "groups of tensors were not cast to fp16",
    ),
}

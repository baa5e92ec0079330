"""The codes of findings: permanent names, each with its meaning.

Reports of later versions may have more codes.
"""

from __future__ import annotations

FINDINGS = {
    # What is wrong with the artifact, or with the model in its layout.
    "values-changed": "A value in the artifact differs from the checkpoint's.",
    "structure-changed": "A key, an order, an alias or another object was changed.",
    "strides-wrong": "A tensor does not have the strides that PyTorch's own conversion gives it.",
    "program-broken": "The converted program does not do what the original does.",
    "layout-error": "A layer or the model raises or differs in the new layout only.",
    "layout-breaks-batches": "The model raises in the new layout with several samples.",
    "channels-last-input": "The model raises or differs on a channels-last input.",
    "file-added": "A file is only in the converted folder.",
    "file-missing": "A file is missing in the converted folder.",
    "file-changed": "A file that should have been copied was changed.",
    # What is not converted, and why.
    "weight-norm": "A layer is skipped: its weight is recomputed from `weight_g` and `weight_v`.",
    "parametrized": "A layer is skipped: a parametrization recomputes its weight.",
    "reparametrized": "A layer is skipped: spectral norm recomputes its weight.",
    "pruned": "A layer is skipped: its weight is recomputed from `weight_orig` and `weight_mask`.",
    "implausible-kernel": "A weight is left alone: its kernel is none of a dense convolution.",
    "shared-storage": "A layer is skipped: another tensor uses some of the same bytes.",
    "not-dense": "A layer is skipped: its elements do not fill the bytes that they span.",
    "quantized": "A layer is skipped: it is quantized.",
    "no-data": "A layer is skipped: it is on the meta device.",
    "not-a-convolution-weight": "A 5-D tensor is left alone.",
    "kind-assumed": "The file does not say whether weights are Conv3d or ConvTranspose3d weights.",
    "nothing-to-change": "No stride had to change; the artifact is the input.",
    "layout-in-manifest": "safetensors cannot store strides; the layout is in the metadata.",
    "records-dropped": "safetensors cannot hold some records of the input; the message names them.",
    "not-cast": "Some tensors were not cast to fp16; the message says why.",
    "no-conv3d-weights": "A file of a folder holds no convolution weight.",
    "not-in-index": "A tensor of a shard is not in the index beside it.",
    "checkpoint-not-opened": "A file of a folder cannot be opened; it is copied as it is.",
    "file-not-fetched": "A file of a folder is a pointer, of Git LFS or the like, not the file.",
    "not-a-checkpoint": "A file of a folder is named like a checkpoint, but is something else.",
    "archive-not-opened": "A file of a folder is an archive; it is copied unopened.",
    "store-not-opened": "A file of a folder belongs to `.git` or the like; it is copied unopened.",
    "left-out": "A link to nothing, or a pipe, is not in the artifact.",
    "pickle-not-opened": "A file of a folder is a pickle, not torch.save's; it is copied unopened.",
    "program-not-opened": "A file of a folder contains code; it is copied unopened.",
    # How the model does in fp16.
    "fp16-inaccurate": "A layer, or the model, is inaccurate in fp16 in any layout.",
    "fp16-overflow": "Values do not fit into fp16 and become infinite.",
    "fp16-underflow": "Values become zero in fp16.",
    "fp16-little-headroom": "Values are close to the end of fp16's range.",
    "fp16-emulated": "The device has no fast fp16 convolution; fp16 was emulated.",
    "not-finite": "Values are NaN or infinite in the checkpoint already.",
    "smoke-skipped": "A layer was not run; the message says why.",
    "smoke-shrunk": "Memory ran out; a smaller input was run.",
    "smoke-cut-short": "`smoke_seconds` ran out; the message says what was not run.",
    "model-not-run": "The layers were run one by one, not the model; the message says why.",
    "model-raises": "The model raises in fp32 as well.",
    "view-in-program": "A program calls `torch.view`, which raises on channels-last tensors.",
    "layout-broken": "A module takes channels-last tensors and returns contiguous ones.",
    "layout-differs-on-cuda": "GroupNorm keeps the layout on this CPU, but not on CUDA.",
    # How fast it is.
    "slow-convolution": "PyTorch's slow fallback ran a convolution, not cuDNN.",
    "speedup-missed": "The measured speed-up is below `min_speedup`.",
    "speedup-not-measured": "`min_speedup` was given, but nothing could be measured.",
    "nothing-gained": "The new layout is not faster on this device.",
    "speed-unstable": "The times were not yet stable when the measuring time was up.",
    "kernels-not-seen": "It is not known which kernels ran; the message says why.",
    # What is known about the device, and about the report.
    "gpu-unusable": "torch cannot use the GPU; the CPU was used.",
    "no-cudnn": "PyTorch has no cuDNN here; 3-D convolutions are slow.",
    "no-tensor-cores": "The GPU has no tensor cores for fp16.",
    "cudnn-avoided": "PyTorch does not use this cuDNN for contiguous fp16 convolutions.",
    "cudnn-wrong-results": "This cuDNN gives wrong results for some fp16 convolutions.",
    "report-shortened": "The report was too long for an error response, and was shortened.",
}
"""The meaning of each code, in the order of the documentation."""

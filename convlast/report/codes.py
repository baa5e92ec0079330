"""The codes of findings: permanent names, each with what it means.

A report of a later version may have further ones.
"""

from __future__ import annotations

FINDINGS = {
    # What is wrong with the artifact, or with the model in its layout.
    "values-changed": "A value of the artifact is not that of the checkpoint.",
    "structure-changed": "A key, an order, an alias or another object is not as it was.",
    "strides-wrong": "A tensor does not have the strides that PyTorch's own conversion gives it.",
    "program-broken": "The converted program does not do what the original does.",
    "layout-error": "A layer or the model raises or differs in the new layout, not in the old.",
    "layout-breaks-batches": "The model raises in the new layout with several samples.",
    "channels-last-input": "The model raises or differs on a channels-last input.",
    "file-added": "A file is in the converted folder alone.",
    "file-missing": "A file is not in the converted folder.",
    "file-changed": "A file that should have been copied is not the same.",
    # What is not converted, and why.
    "weight-norm": "A layer is skipped: its weight is recomputed from `weight_g` and `weight_v`.",
    "parametrized": "A layer is skipped: a parametrization recomputes its weight.",
    "reparametrized": "A layer is skipped: spectral norm recomputes its weight.",
    "shared-storage": "A layer is skipped: another tensor uses some of the same bytes.",
    "not-dense": "A layer is skipped: its elements do not fill the bytes that they span.",
    "quantized": "A layer is skipped: it is quantized.",
    "no-data": "A layer is skipped: it is on the meta device.",
    "not-a-convolution-weight": "A 5-D tensor is left alone.",
    "kind-assumed": "The file does not tell Conv3d weights from ConvTranspose3d weights.",
    "nothing-to-change": "No stride had to change; the artifact is the input.",
    "layout-in-manifest": "safetensors holds no strides; the layout is in the metadata.",
    "not-cast": "Tensors stay wider than fp16, and why.",
    "no-conv3d-weights": "A file of a folder holds no convolution weight.",
    "not-in-index": "A tensor of a shard is not in the index beside it.",
    "pickle-not-opened": "A file of a folder is a pickle, not torch.save's; it is copied unopened.",
    "program-not-opened": "A file of a folder holds code; it is copied unopened.",
    # How fp16 goes.
    "fp16-inaccurate": "A layer, or the model, is inaccurate in fp16 in any layout.",
    "fp16-overflow": "Values do not fit into fp16 and become infinite.",
    "fp16-underflow": "Values vanish in fp16.",
    "fp16-little-headroom": "Values hardly fit into fp16.",
    "fp16-emulated": "The device has no fast fp16 convolution; fp16 was emulated.",
    "not-finite": "Values are NaN or infinite already.",
    "smoke-skipped": "A layer was not run, and why.",
    "smoke-shrunk": "Memory ran out; a smaller input was run.",
    "model-not-run": "The layers were run one by one, not the model, and why.",
    "model-raises": "The model raises in fp32 as well.",
    "view-in-program": "A program calls `torch.view`, which raises on channels-last tensors.",
    "layout-broken": "A module takes channels-last tensors and gives contiguous ones.",
    "layout-differs-on-cuda": "GroupNorm keeps the layout on this CPU, and does not on CUDA.",
    # How fast it is.
    "slow-convolution": "PyTorch's slow fallback ran a convolution, not cuDNN.",
    "speedup-missed": "The measured speed-up is below `min_speedup`.",
    "speedup-not-measured": "`min_speedup` was asked for, and nothing could be measured.",
    "nothing-gained": "The new layout is not faster on this device.",
    "speed-unstable": "The times still moved when the time for measuring was up.",
    "kernels-not-seen": "It is not known which kernels ran, and why.",
    # What is known of the device, and of the report.
    "gpu-unusable": "torch cannot use the GPU; the CPU was used.",
    "no-cudnn": "PyTorch has no cuDNN here; 3-D convolutions are slow.",
    "no-tensor-cores": "The GPU has no tensor cores for fp16.",
    "cudnn-avoided": "PyTorch does not use this cuDNN for contiguous fp16 convolutions.",
    "cudnn-wrong-results": "This cuDNN gives wrong results for some fp16 convolutions.",
    "report-shortened": "The report was too long for a refusal, and is shortened.",
}
"""What each code means, in the order of the documents."""

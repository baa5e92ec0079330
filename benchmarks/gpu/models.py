"""The models that are measured on a GPU, with random values, at the widths that people use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.smoke import found_in
from convlast.architectures import Subject
from convlast.architectures.resolving import PREFIXES as OWN_PREFIXES
from convlast.architectures.resolving import resolve
from convlast.options import Options
from convlast.smoke.model.specimen import Weights

PREFIXES = (*OWN_PREFIXES, __name__)
"""The modules that these models come from."""


class PatchEmbedding(nn.Module):
    """A video transformer's first layer, whose kernel equals its stride, and the norm behind it."""

    def __init__(self, width: int = 768, patch: tuple[int, int, int] = (2, 16, 16)) -> None:
        super().__init__()
        self.projection = nn.Conv3d(3, width, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, clip: Tensor) -> Tensor:
        """Return (N, patches, width) of (N, 3, D, H, W)."""
        tokens: Tensor = self.norm(self.projection(clip).flatten(2).transpose(1, 2))
        return tokens


@dataclass(frozen=True)
class Model:
    """A model, and what it is run on.

    Attributes:
        architecture: Its class or function, by its dotted name.
        input_shape: (N, C, D, H, W)
        options: Keyword arguments.
        entry_point: The method that is run.
    """

    architecture: str
    input_shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    entry_point: str = "auto"


_UNET = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "num_res_units": 2,
    "channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2],
}  # fmt: skip
_SEGRESNET = {
    "spatial_dims": 3, "in_channels": 4, "out_channels": 3, "init_filters": 16,
    "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1],
}  # fmt: skip
_DYNUNET = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "norm_name": "instance",
    "kernel_size": [3] * 6, "strides": [1, 2, 2, 2, 2, 2], "upsample_kernel_size": [2] * 5,
    "filters": [32, 64, 128, 256, 320, 320],
}  # fmt: skip
_X3D = {"input_clip_length": 16, "input_crop_size": 224}

MODELS: Mapping[str, Model] = {
    "r3d_18": Model("torchvision.models.video.r3d_18", (8, 3, 16, 112, 112)),
    "r2plus1d_18": Model("torchvision.models.video.r2plus1d_18", (8, 3, 16, 112, 112)),
    "s3d": Model("torchvision.models.video.s3d", (8, 3, 16, 224, 224)),
    "UNet": Model("monai.networks.nets.UNet", (4, 1, 96, 96, 96), _UNET),
    "SegResNet": Model("monai.networks.nets.SegResNet", (2, 4, 96, 96, 96), _SEGRESNET),
    "DynUNet": Model("monai.networks.nets.DynUNet", (2, 1, 128, 128, 128), _DYNUNET),
    "Wan-VAE": Model("diffusers.AutoencoderKLWan", (1, 16, 3, 32, 32), {}, "decode"),
    "CogVideoX-VAE": Model("diffusers.AutoencoderKLCogVideoX", (1, 16, 3, 32, 32), {}, "decode"),
    "X3D-M": Model("pytorchvideo.models.x3d.create_x3d", (8, 3, 16, 224, 224), _X3D),
    "patch-embedding": Model(f"{__name__}.PatchEmbedding", (8, 3, 16, 224, 224)),
}
"""By the names that results have. Those of diffusers have the widths of their released weights."""


def built(model: Model, path: Path) -> tuple[Subject, Weights]:
    """Save a checkpoint of a model, and find the model in it as a conversion does.

    Args:
        model: The model.
        path: The checkpoint, which is read from as long as the model is used.
    """
    torch.manual_seed(0)
    module = resolve(model.architecture, PREFIXES)(**model.options)
    torch.save(module.state_dict(), path)
    del module
    options = {
        "architecture": model.architecture,
        "architecture_options": dict(model.options),
        "input_shape": model.input_shape,
        "entry_point": model.entry_point,
    }
    return found_in(path, Options.model_validate(options), PREFIXES)

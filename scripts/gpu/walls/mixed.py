"""A model with convolutions of each kind, among them one that is not three-dimensional."""

from __future__ import annotations

from torch import Tensor, nn


class Mixed(nn.Module):
    """Plain, 2-D, depthwise, grouped, transposed and pointwise, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv3d(8, 16, 3, padding=1)
        self.norm = nn.BatchNorm3d(16)
        self.flat = nn.Conv2d(16, 16, 3, padding=1)
        self.depthwise = nn.Conv3d(16, 16, 3, padding=1, groups=16)
        self.grouped = nn.Conv3d(16, 16, 3, padding=1, groups=4)
        self.up = nn.ConvTranspose3d(16, 8, 2, stride=2)
        self.head = nn.Conv3d(8, 4, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """Return (N, 4, 2 D, 2 H, 2 W) of (N, 8, D, H, W)."""
        volume = self.norm(self.plain(volume)).relu()
        samples, channels, depth, height, width = volume.shape
        planes = volume.transpose(1, 2).reshape(samples * depth, channels, height, width)
        planes = self.flat(planes).relu()
        volume = planes.reshape(samples, depth, channels, height, width).transpose(1, 2)
        volume = self.grouped(self.depthwise(volume)).relu()
        output: Tensor = self.head(self.up(volume))
        return output

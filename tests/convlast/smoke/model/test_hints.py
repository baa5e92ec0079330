"""Hints on what keeps convolutions from being fast, with their names and what to do about it."""

from __future__ import annotations

import pytest
from torch import nn

from tests.subjects import smoked


def hints_of(*layers: nn.Module, channels: int = 8) -> list[str]:
    """Return the hints about a chain of layers."""
    found = smoked(lambda: nn.Sequential(*layers), (channels, 4, 4, 4))
    assert found.smoke.status == "passed"
    return found.smoke.hints


@pytest.mark.parametrize(
    ("layers", "channels", "words"),
    [
        ([nn.Conv3d(8, 16, 2, stride=2)], 8, "0: kernel and stride are equal"),
        ([nn.Conv3d(8, 8, 3, groups=8)], 8, "0: depthwise"),
        ([nn.Conv3d(8, 16, 3, groups=8)], 8, "0: depthwise"),
        ([nn.Conv3d(16, 16, 3, groups=2)], 16, "0: grouped"),
        ([nn.Conv3d(8, 16, 3), nn.Conv3d(16, 3, 1)], 8, "1 (16 to 3): channels that 8"),
        ([nn.Conv3d(3, 8, 3)], 3, "0 (3 to 8): channels that 8"),
        ([nn.ConvTranspose3d(8, 12, 3)], 8, "0 (8 to 12): channels that 8"),
    ],
)
def test_a_convolution_is_named_with_the_reason(
    layers: list[nn.Module], channels: int, words: str
) -> None:
    """There are hints for patch embeddings, depthwise and grouped ones, and odd channels."""
    (hint,) = hints_of(*layers, channels=channels)
    assert hint.startswith(words)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv3d(8, 16, 3), nn.Conv3d(16, 8, 1)],
        [nn.Conv3d(8, 8, 3, padding=1), nn.Conv3d(8, 16, 2, stride=2)],
        [nn.Conv3d(8, 16, 1)],
        [nn.ConvTranspose3d(8, 8, 2, stride=2)],
    ],
)
def test_others_are_left_in_peace(layers: list[nn.Module]) -> None:
    """A strided convolution further in, a pointwise one and an upsampling one cut no patches."""
    assert hints_of(*layers) == []


def test_many_of_a_kind_are_counted() -> None:
    """A hint names four convolutions, and the number of the others."""
    (hint,) = hints_of(*(nn.Conv3d(8, 8, 1, groups=8) for _ in range(6)))
    assert hint.startswith("0, 1, 2, 3 and 2 more: depthwise")

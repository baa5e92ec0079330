"""Random numbers that a model draws, which are the same in every layout and precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.subjects import smoked

DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "randn_like": lambda x: x + torch.randn_like(x),
    "rand_like in another format": lambda x: (
        x + torch.rand_like(x, memory_format=torch.contiguous_format)
    ),
    "normal_": lambda x: x + torch.empty_like(x).normal_(),
    "bernoulli": lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
    "dropout": lambda x: functional.dropout(x, 0.5, training=True),
    "normal": lambda x: torch.normal(x, torch.ones_like(x)),
    "a view": lambda x: x + torch.empty_like(x)[:, :2].uniform_().repeat(1, 2, 1, 1, 1),
}


class Sampling(nn.Module):
    """A network that adds noise between its convolutions."""

    def __init__(self, draw: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv3d(3, 4, 3), nn.Conv3d(4, 4, 3)
        self.draw = draw

    def forward(self, volume: Tensor) -> Tensor:
        """Draw in the layout of the first convolution's output."""
        last: Tensor = self.last(self.draw(self.first(volume)))
        return last


@pytest.mark.parametrize("draw", DRAWS)
def test_every_run_gets_the_same_numbers(draw: str) -> None:
    """Noise is no error of the layout or of fp16, whichever operator draws it."""
    found = smoked(lambda: Sampling(DRAWS[draw]), (3, 8, 8, 8))
    assert (found.smoke.status, found.faults) == ("passed", [])

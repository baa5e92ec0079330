"""Finding an input size by trying: few tries, each with a fresh model, in a given time."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from convlast.architectures.search import find_shape
from convlast.architectures.sizes import SIZES, Shape, candidates, channels_of
from convlast.architectures.time_limit import NO_LIMIT, TimeLimit, TimeUp
from convlast.errors import OptionError

CPU = torch.device("cpu")


class Tried(nn.Module):
    """One convolution that notes the shapes it is called with; copies of it note them too."""

    shapes: list[Shape]

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, 4, 3, padding=1)
        type(self).shapes = []

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        self.shapes.append(tuple(x.shape))
        return cast(Tensor, self.conv(x))


def shape_for(
    model: nn.Module,
    groups: Sequence[Sequence[Shape]] | None = None,
    limit: TimeLimit = NO_LIMIT,
    places: Sequence[str] = ("meta",),
) -> Shape:
    """Return the shape that is found for a model."""

    def run(made: Any, shape: Shape, device: str) -> object:
        return made(torch.empty(shape, device=device))

    models: list[tuple[str, Callable[[], Any]]] = [(place, lambda: model) for place in places]
    groups = candidates(channels_of(model), {}) if groups is None else groups
    return find_shape(models, run, groups, CPU, limit)


class Keeping(Tried):
    """Keeps frames of a call that raises, so that the next call raises as well."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Run on 4 n + 1 frames."""
        x = torch.cat([*self.kept, super().forward(x)], 2)
        self.kept.append(x[:, :, -1:])
        if x.shape[2] % 4 != 1:
            raise ValueError("the number of frames must be 4 n + 1")
        self.kept.clear()
        return x


@pytest.mark.parametrize("place", ["meta", "cpu"])
def test_each_try_gets_a_model_without_the_state_of_the_last(place: str) -> None:
    """A model that keeps state of a failed try runs on the first size that it is made for."""
    model = Keeping().to(place)
    assert shape_for(model, places=[place])[2] % 4 == 1
    assert not model.kept


def test_a_wrong_number_of_channels_takes_two_tries() -> None:
    """It is wrong for every size."""
    assert shape_for(Tried(), [[(1, 5, *size) for size in SIZES], [(1, 3, 8, 8, 8)]])[1] == 3
    assert len(Tried.shapes) == 3


def test_few_sizes_are_tried_beyond_the_first_that_runs() -> None:
    """The cost of the others follows from its own."""
    found = shape_for(Tried())
    assert found[2:] == (96, 96, 96)
    assert len(Tried.shapes) <= 3


def test_the_channels_of_a_model_that_folds_patches_are_found() -> None:
    """The usual numbers of channels are tried where those of the convolutions do not run."""

    class Folding(Tried):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(
                nn.functional.pixel_unshuffle(x.transpose(1, 2), 4).transpose(1, 2)
            )

    for channels, expected in ((48, 3), (16, 1)):
        assert shape_for(Folding(channels))[1] == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"in_channels": 3, "patch_size": 4}, [3, 48]),
        ({"in_channels": 12, "patch_size": 2}, [12, 48, 3]),
        ({"in_channels": 6, "patch_size": [1, 2, 2]}, [6, 48, 12]),
        ({"in_channels": 16, "patch_size": 2, "patch_size_t": 2}, [16, 48, 4, 2]),
        ({"in_channels": "many", "patch_size": 0}, [48, 8]),
        ({}, [48, 8]),
    ],
)
def test_the_options_of_a_model_come_first(said: dict[str, Any], expected: list[int]) -> None:
    """The said number of channels, the first convolution's, and both without patches."""
    model = nn.Sequential(nn.Conv2d(48, 8, 3), nn.Conv3d(8, 8, 3))
    assert channels_of(model, said)[: len(expected)] == expected
    assert set(channels_of(model, said)) >= {3, 1}


def test_a_decoder_takes_the_latent() -> None:
    """The input of `decode` has the latent's channels, not the image's."""
    model = nn.Sequential(nn.Conv3d(3, 8, 3), nn.Conv3d(8, 8, 3))
    said = {"in_channels": 3, "latent_channels": 4}
    assert channels_of(model, said, decodes=True) == [4, 3, 8]


def test_many_convolutions_do_not_make_many_tries() -> None:
    """The numbers of channels are few, whatever the model."""
    layers = [nn.Conv3d(number, 1, 1) for number in range(5, 100)]
    assert len(channels_of(nn.Sequential(*layers), {"in_channels": list(range(1, 999))})) <= 12


def test_no_time_is_no_error() -> None:
    """A search that runs out of the smoke's time says so, and not that the model is wrong."""
    with pytest.raises(TimeUp):
        shape_for(Tried(7), limit=TimeLimit.of(0))
    with pytest.raises(OptionError, match="No input was found"):
        shape_for(nn.Sequential(nn.Linear(7, 7)))


def test_a_forward_that_never_ends_is_ended() -> None:
    """A try ends when the time of the search is up."""

    class Endless(Tried):
        def forward(self, x: Tensor) -> Tensor:
            for _ in itertools.count():
                x = x + 1
            return x

    with pytest.raises(TimeUp):
        shape_for(Endless(), limit=TimeLimit.of(0.1))


def test_the_failure_that_is_told_is_not_that_of_a_guessed_number_of_channels() -> None:
    """What the model says of its own number of channels says more."""

    class Picky(Tried):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise ValueError("wants an atlas")

    with pytest.raises(OptionError, match="wants an atlas"):
        shape_for(Picky())


@pytest.mark.parametrize(("channels", "words"), [(3, "no size of 7"), (4, "to have 4 channels")])
def test_what_an_operator_of_torchscript_raises_is_told(channels: int, words: str) -> None:
    """TorchScript loses these words, and they show which number of channels is wrong."""

    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(channels, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            if x.shape[1] == 4:
                raise RuntimeError("no size of 7")
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates it, and files of it are there
        program: Any = torch.jit.script(Failing().eval())
    with pytest.raises(OptionError, match=words):
        shape_for(program, [[(1, 3, *size) for size in SIZES]], places=["cpu"])

"""Which 5-D tensors are convolution weights, and on what evidence."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm

from convlast.checkpoints.tree import walk
from convlast.options import Limits
from convlast.planning.weights import Candidate, find_weights
from tests import builders


def found_in(root: object) -> tuple[dict[str, Candidate], list[str]]:
    """Return the weights by their key, and the keys of the other 5-D tensors."""
    weights, others = find_weights(walk(root, Limits()))
    return (
        {str(weight.path[-1]): weight for weight in weights},
        ["".join(map(str, entry.path[-1:])) for entry in others],
    )


def only(root: Mapping[str, object]) -> Candidate:
    """Return the one weight that there is."""
    weights, _ = found_in(root)
    assert len(weights) == 1
    return next(iter(weights.values()))


@settings(max_examples=100, deadline=None)
@given(st.booleans(), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_the_bias_tells_the_right_kind(
    transposed: bool, groups: int, first: int, second: int
) -> None:
    """What is said to be one kind is of that kind, but for a transposed one with groups.

    With as many inputs as outputs that has the shapes of a Conv3d, which is far more common.
    """
    make = nn.ConvTranspose3d if transposed else nn.Conv3d
    module = make(first * groups, second * groups, 2, groups=groups)
    weight = only(module.state_dict())
    if weight.kind == "Conv3d":
        assert not transposed or (groups > 1 and first == second)
    elif weight.kind == "ConvTranspose3d":
        assert transposed
        assert weight.groups == groups


@pytest.mark.parametrize(
    ("module", "kind", "groups"),
    [
        (nn.Conv3d(3, 4, 2), "Conv3d", None),
        (nn.Conv3d(4, 4, 2), "unknown", None),
        (nn.Conv3d(3, 4, 2, bias=False), "unknown", None),
        (nn.ConvTranspose3d(3, 4, 2), "ConvTranspose3d", 1),
        (nn.ConvTranspose3d(4, 6, 2, groups=2), "ConvTranspose3d", 2),
    ],
)
def test_the_kind(module: nn.Module, kind: str, groups: int | None) -> None:
    """The length of the bias tells which extent is the output's, where they differ."""
    weight = only(module.state_dict())
    assert (weight.kind, weight.groups) == (kind, groups)


def old_weight_norm(module: nn.Module) -> nn.Module:
    """Apply weight norm as PyTorch did before parametrizations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(module)


@pytest.mark.parametrize(
    ("wrap", "reason"),
    [
        (old_weight_norm, "weight-norm"),
        (parametrizations.weight_norm, "weight-norm"),
        (parametrizations.spectral_norm, "parametrized"),
        (spectral_norm, "reparametrized"),
    ],
)
def test_recomputed_weights_are_known_as_such(
    wrap: Callable[[nn.Module], nn.Module], reason: str
) -> None:
    """Their stored parts are not what a convolution reads, so their layout is of no use."""
    weights, _ = found_in(wrap(nn.Conv3d(3, 4, 2)).state_dict())
    reasons = {weight.unconvertible for weight in weights.values()}
    assert reasons == {reason}


def ones(*shape: int) -> Tensor:
    """Return a tensor of this shape."""
    return torch.ones(shape)


@pytest.mark.parametrize(
    "root",
    [
        {"pos_embed": ones(1, 2, 3, 3, 3)},
        {"offset1": ones(1, 2, 3, 3, 3)},
        {"conv.weights": ones(1, 2, 3, 3, 3)},
        {"highweight": ones(1, 2, 3, 3, 3)},
        {"norm.weight": ones(1, 2, 3, 3, 3), "norm.bias": ones(1, 2, 3, 3, 3)},
        {"odd.weight": ones(5, 3, 2, 2, 2), "odd.bias": ones(7)},
        {"exp_avg": {"conv.weight": ones(1, 2, 3, 3, 3)}},
        {"optimizer": {"conv.weight": ones(1, 2, 3, 3, 3)}},
        {"optim_state": [{"weight": ones(1, 2, 3, 3, 3)}]},
        {"optimizer_g": {"conv.weight": ones(1, 2, 3, 3, 3)}},
        {"generatorOptimizer": {"conv.weight": ones(1, 2, 3, 3, 3)}},
        {"OPTIM": {"conv.weight": ones(1, 2, 3, 3, 3)}},
        {"state.exp_avg.conv.weight": ones(1, 2, 3, 3, 3)},
        [ones(1, 2, 3, 3, 3)],
        {3: ones(1, 2, 3, 3, 3)},
        ones(1, 2, 3, 3, 3),
    ],
)
def test_other_tensors_of_five_dimensions(root: Any) -> None:
    """They are named, and left alone."""
    weights, others = found_in(root)
    assert weights == {}
    assert len(others) == (2 if isinstance(root, dict) and "norm.weight" in root else 1)


@pytest.mark.parametrize(
    "wrapper",
    ["optimal_state_dict", "optimized", "Optimus", "optimalModel", "best_optim_model", "ema_optim"],
)
def test_a_name_that_begins_like_an_optimizers_is_none(wrapper: str) -> None:
    """The best weights so far are weights, whatever they are called."""
    weights, others = found_in({wrapper: {"conv.weight": ones(1, 2, 3, 3, 3)}})
    assert (len(weights), others) == (1, [])


def test_an_optimizer_is_known_by_its_structure() -> None:
    """Under any name; what is called `state` beside its groups may be the model's."""
    state = {0: {"weight": ones(1, 2, 3, 3, 3)}}
    model = {"state": {"weight": ones(1, 2, 3, 3, 3)}, "param_groups": []}
    root = {"adam": [{"state": state, "param_groups": []}], "net": model}
    weights, others = find_weights(walk(root, Limits()), root=root)
    assert [each.path for each in weights] == [("net", "state", "weight")]
    assert [each.path for each in others] == [("adam", 0, "state", 0, "weight")]


def test_pruned_weights_are_known_as_such() -> None:
    """They are recomputed like those of spectral norm, and freed in another way."""
    module = nn.Conv3d(3, 4, 2)
    prune.l1_unstructured(module, "weight", amount=0.5)  # type: ignore[no-untyped-call] # torch's
    weights, _ = found_in(module.state_dict())
    assert weights["weight_orig"].unconvertible == "pruned"


SPARSE = {
    "spconv 2": [(16, 3, 3, 3, 4), (32, 3, 3, 3, 16), (64, 3, 3, 3, 32), (128, 3, 1, 1, 64)],
    "spconv 1": [(3, 3, 3, 4, 16), (3, 3, 3, 16, 32), (3, 3, 3, 64, 64), (3, 1, 1, 64, 128)],
}
"""The shapes of real encoders of point clouds."""


@pytest.mark.parametrize("library", SPARSE)
def test_weights_of_sparse_convolutions_are_left_alone(library: str) -> None:
    """Those too that a dense convolution might have, if the others are none of a dense one."""
    root = {f"{index}.weight": ones(*shape) for index, shape in enumerate(SPARSE[library])}
    root["dense.weight"] = ones(32, 16, 3, 3, 3)
    weights, _ = found_in(root)
    left_alone = {name: each.unconvertible for name, each in weights.items()}
    assert left_alone.pop("dense.weight") is None
    assert set(left_alone.values()) == {"implausible-kernel"}


@pytest.mark.parametrize(
    "shape",
    [
        (64, 1, 1, 1, 32), (32, 2, 2, 2, 16), (32, 5, 5, 5, 16), (16, 3, 3, 3, 8),
        (1, 1, 1, 64, 32), (2, 2, 2, 32, 64), (5, 5, 5, 16, 16), (8, 4, 100, 90, 80),
    ],
)  # fmt: skip
def test_a_kernel_of_no_dense_convolution_is_none(shape: tuple[int, ...]) -> None:
    """One such weight is enough to say so, without others beside it."""
    weights, _ = found_in({"conv.weight": torch.empty(shape, device="meta")})
    assert [each.unconvertible for each in weights.values()] == ["implausible-kernel"]


@pytest.mark.parametrize(
    "shape",
    [
        (8, 4, 3, 3, 3), (8, 4, 7, 7, 7), (8, 4, 1, 7, 7), (8, 4, 3, 1, 1), (8, 4, 5, 3, 7),
        (768, 3, 2, 16, 16), (1024, 3, 1, 14, 14), (768, 1, 16, 16, 16), (96, 1, 1, 32, 32),
        (768, 3, 2, 8, 8), (8, 4, 31, 1, 1), (8, 4, 1, 1, 63), (64, 64, 9, 9, 9),
        (2, 2, 16, 16, 16), (8, 4, 8, 8, 8), (1, 64, 9, 9, 9), (64, 32, 1, 9, 5),
        (32, 1, 3, 41, 11), (10, 64, 16, 7, 7), (12, 1, 1, 8, 8), (16, 1, 128, 1, 1),
        (64, 1, 1, 64, 64),
    ],
)  # fmt: skip
def test_unusual_kernels_are_kernels(shape: tuple[int, ...]) -> None:
    """Those of patch embeddings, separable convolutions, spectrograms and upsampling."""
    weights, _ = found_in({"conv.weight": ones(*shape)})
    assert [each.unconvertible for each in weights.values()] == [None]


def test_a_module_is_believed_whatever_its_kernel() -> None:
    """Its class says what it is."""
    weights, _ = found_in(nn.Sequential(nn.Conv3d(1, 2, (2, 2, 40))))
    assert [each.unconvertible for each in weights.values()] == [None]


def test_moments_of_every_optimizer() -> None:
    """No state that PyTorch's optimizers keep for a convolution is taken for its weight."""
    model = nn.Conv3d(3, 4, 3)
    for name in ("Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Rprop"):
        optimizer = getattr(torch.optim, name)(model.parameters())
        model(torch.ones(1, 3, 3, 3, 3)).sum().backward()
        optimizer.step()
        by_name = {
            "exp": {
                key: {"weight": value} for key, value in optimizer.state_dict()["state"][0].items()
            }
        }
        weights, _ = found_in({"optimizer": optimizer.state_dict()})
        assert weights == {}
        if name != "Rprop" and name != "Adagrad":  # those call theirs `prev` and `sum`
            assert found_in(by_name)[0] == {}, name


def test_the_evidence_is_in_words() -> None:
    """Each weight says what it is taken for one by."""
    weights, _ = found_in(builders.a_model().state_dict())
    assert [weight.evidence for weight in weights.values()] == [
        "a 5-D weight with a bias of 4, its first extent",
        "a 5-D weight with a bias of 6, its first extent",
        "a 5-D weight with a bias of 4, its second extent",
        "a 5-D tensor whose key ends in weight, without a bias",
    ]

"""Of several networks in a file each model gets its own, or the caller says which is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import convlast
from convlast.errors import ArchitectureMismatchError
from convlast.loading.fitting import Model, StateDict, fits_of
from convlast.options import Options
from tests import builders
from tests.convlast.loading import wrapping

QUIET = Options(smoke="none")


def generator() -> nn.Sequential:
    """Return a network."""
    return nn.Sequential(nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8), nn.Conv3d(8, 4, 3))


def critic() -> nn.Sequential:
    """Return a network with the same names, but other shapes."""
    return nn.Sequential(nn.Conv3d(2, 8, 3), nn.Conv3d(8, 4, 3), nn.Conv3d(4, 2, 3))


def flat_critic() -> nn.Sequential:
    """Return a network without a 3-D convolution."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 1))


class Trainer(nn.Module):
    """What holds a network beside others while it is trained."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def converted(root: object, folder: Path) -> Path:
    """Return a converted checkpoint of these objects."""
    convlast.convert(builders.save(root, folder / "a.pt"), folder / "b.pt", QUIET)
    return folder / "b.pt"


def assert_equal(model: nn.Module, saved: nn.Module) -> None:
    """Check the values of all tensors."""
    for mine, theirs in zip(model.state_dict().values(), saved.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


SHAPES: dict[str, Callable[[Any, Any], Any]] = {
    "two keys": lambda one, other: {"netG": one, "netD": other},
    "a list": lambda one, other: {"epoch": 1, "nets": [other, one]},
    "deep": lambda one, other: {"models": {"g": {"sd": one}, "d": {"sd": other}}},
    "a prefix each": lambda one, other: {
        "state_dict": {f"G.{key}": value for key, value in one.items()}
        | {f"D.{key}": value for key, value in other.items()}
    },
    "from parallel training": lambda one, other: {
        "netG": {f"module.{key}": value for key, value in one.items()},
        "netD": {f"module.{key}": value for key, value in other.items()},
    },
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("other", [critic, flat_critic])
def test_each_network_gets_its_own(
    shape: str, other: Callable[[], nn.Sequential], tmp_path: Path
) -> None:
    """Weights and layout are those of the state dict that fits, wherever it is."""
    saved = generator(), other()
    path = converted(SHAPES[shape](*(each.state_dict() for each in saved)), tmp_path)

    for build, original in zip((generator, other), saved, strict=True):
        loaded = convlast.load_into(build(), path)
        assert_equal(loaded, original)
        if other is critic or build is generator:
            wrapping.assert_laid_out(loaded)
            wrapping.assert_laid_out(convlast.apply_layout(build(), path))


def test_two_that_fit_have_to_be_told_apart(tmp_path: Path) -> None:
    """Both are named, and the parameter that chooses; the model is as it was."""
    saved = {name: generator() for name in ("netA", "netB")}
    path = converted({name: net.state_dict() for name, net in saved.items()}, tmp_path)
    model = generator()
    weight = model[0].weight
    with pytest.raises(ArchitectureMismatchError, match=r"'netA', 'netB'.*wrapper='netA'"):
        convlast.load_into(model, path)
    assert model[0].weight is weight
    for name, original in saved.items():
        assert_equal(convlast.load_into(generator(), path, wrapper=name), original)
    wrapping.assert_laid_out(convlast.apply_layout(generator(), path))


def test_two_of_the_same_values_are_one(tmp_path: Path) -> None:
    """A state dict that was saved twice is loaded without a question."""
    original = generator()
    path = converted({"last": original.state_dict(), "best": original.state_dict()}, tmp_path)
    assert_equal(convlast.load_into(generator(), path), original)


@pytest.mark.parametrize(
    "names",
    [("model", "model_ema"), ("student", "teacher"), ("net", "netEMA"), ("m", "ema1", "swa")],
)
def test_of_weights_and_averages_the_first_is_taken(names: tuple[str, ...], tmp_path: Path) -> None:
    """A moving average beside the weights is no rival of theirs, and can be named."""
    saved = {name: generator() for name in names}
    path = converted({name: net.state_dict() for name, net in saved.items()}, tmp_path)
    assert_equal(convlast.load_into(generator(), path), saved[names[0]])
    assert_equal(convlast.load_into(generator(), path, wrapper=names[1]), saved[names[1]])


def test_two_averages_have_to_be_told_apart(tmp_path: Path) -> None:
    """Of two averages, without the weights, none is plainly meant."""
    saved = {name: generator().state_dict() for name in ("ema_a", "ema_b")}
    with pytest.raises(ArchitectureMismatchError, match="'ema_a', 'ema_b'"):
        convlast.load_into(generator(), builders.save(saved, tmp_path / "a.pt"))


def test_layouts_that_disagree_have_to_be_told_apart(tmp_path: Path) -> None:
    """If one network was converted and its twin was not, the caller says which is meant."""
    saved = {name: generator().state_dict() for name in ("netA", "netB")}
    options = QUIET.model_copy(update={"select": ("netB.*",)})
    builders.save(saved, tmp_path / "a.pt")
    convlast.convert(tmp_path / "a.pt", tmp_path / "b.pt", options)
    model = generator()
    with pytest.raises(ArchitectureMismatchError, match=r"'netA', 'netB'.*wrapper='netA'"):
        convlast.apply_layout(model, tmp_path / "b.pt")
    convlast.apply_layout(model, tmp_path / "b.pt", wrapper="netA")
    assert model.get_parameter("0.weight").is_contiguous()
    wrapping.assert_laid_out(convlast.apply_layout(model, tmp_path / "b.pt", wrapper="netB"))


@pytest.fixture
def lightning(tmp_path: Path) -> tuple[Path, Trainer]:
    """Return a converted file of a trainer's, and what was saved."""
    loss = nn.Sequential(nn.Conv3d(2, 4, 3))
    saved = Trainer(net=generator(), loss=loss, student=critic(), other=critic())
    root = {"state_dict": saved.state_dict(), "optimizer_states": [{"state": {}}]}
    return converted(root, tmp_path), saved


def test_a_network_inside_another(lightning: tuple[Path, Trainer]) -> None:
    """The network alone gets its weights and layout from the file of what held it."""
    path, saved = lightning
    model = convlast.load_into(generator(), path)
    assert_equal(model, saved.get_submodule("net"))
    wrapping.assert_laid_out(model)
    wrapping.assert_laid_out(convlast.apply_layout(generator(), path))


@pytest.mark.parametrize("wrapper", ["other", "state_dict.other"])
def test_a_prefix_can_be_named(wrapper: str, lightning: tuple[Path, Trainer]) -> None:
    """Two networks in one state dict are told apart by their prefix."""
    path, saved = lightning
    with pytest.raises(
        ArchitectureMismatchError, match=r"'state_dict\.student', 'state_dict\.other'"
    ):
        convlast.load_into(critic(), path)
    assert_equal(convlast.load_into(critic(), path, wrapper=wrapper), saved.get_submodule("other"))
    wrapping.assert_laid_out(convlast.apply_layout(critic(), path, wrapper=wrapper))


@pytest.mark.parametrize("verb", [convlast.load_into, convlast.apply_layout])
def test_a_place_that_is_not_there_is_refused(
    verb: Callable[..., nn.Module], tmp_path: Path
) -> None:
    """The refusal has the places that there are."""
    path = converted({"a": generator().state_dict(), "b": critic().state_dict()}, tmp_path)
    with pytest.raises(ArchitectureMismatchError, match=r"wrapper='c'.*'a', 'b'"):
        verb(generator(), path, wrapper="c")
    with pytest.raises(ArchitectureMismatchError, match="does not fit"):
        verb(generator(), path, wrapper="b")


def test_a_larger_model_gets_what_there_is(tmp_path: Path) -> None:
    """A part's file lays the part out; it loads only if the model may keep its other weights."""
    original = generator()
    path = converted(original.state_dict(), tmp_path)
    model = Trainer(net=generator(), head=critic())
    wrapping.assert_laid_out(convlast.apply_layout(model, path).get_submodule("net"))
    with pytest.raises(ArchitectureMismatchError, match=r"Not in the file: head\.0\.weight"):
        convlast.load_into(model, path)
    convlast.load_into(model, path, strict=False)
    assert_equal(model.get_submodule("net"), original)
    assert model.get_parameter("head.0.weight").is_contiguous()


def test_a_small_state_dict_does_not_serve_a_large_model(tmp_path: Path) -> None:
    """One layer that fits by chance is not taken for the network, whose own layers do not fit."""
    loss = nn.Sequential(nn.Conv3d(3, 8, 3))
    path = converted({"net": critic().state_dict(), "loss": loss.state_dict()}, tmp_path)
    with pytest.raises(ArchitectureMismatchError, match="None of the 2 layouts"):
        convlast.apply_layout(generator(), path)
    model = convlast.apply_layout(generator(), path, wrapper="loss")
    assert isinstance(model, nn.Sequential)
    wrapping.assert_laid_out(model[0])


def test_without_strictness_what_fits_is_used(tmp_path: Path) -> None:
    """A model with another head gets the layers that it shares; a file without any is refused."""
    original = generator()
    path = converted({"net": Trainer(a=original, b=critic()).state_dict()}, tmp_path)
    model = Trainer(a=generator(), c=critic())
    for verb in (convlast.load_into, convlast.apply_layout):
        with pytest.raises(ArchitectureMismatchError, match=r"Not in the model: b\.0\.weight"):
            verb(model, path)
        verb(model, path, strict=False)
        wrapping.assert_laid_out(model.get_submodule("a"))
        with pytest.raises(ArchitectureMismatchError, match="0 of"):
            verb(nn.ModuleDict({"x": nn.Conv3d(9, 9, 3)}), path, strict=False)
    assert_equal(model.get_submodule("a"), original)


@settings(max_examples=30)
@given(st.permutations(["a", "b", "c"]), st.sampled_from(["", "net.", "x.y."]), st.data())
def test_the_order_of_networks_does_not_matter(
    names: list[str], prefix: str, data: st.DataObject
) -> None:
    """Whatever is beside it, and before it, a network's own layers get the layout."""
    others = [critic(), nn.Sequential(nn.Conv3d(3, 8, 3)), generator()]
    networks = dict(zip(names, data.draw(st.permutations(others)), strict=True))
    root = {
        name: {prefix + key: value for key, value in network.state_dict().items()}
        for name, network in networks.items()
    }
    manifest = wrapping.manifest_of(root)
    for build in (critic, generator):
        wrapping.assert_laid_out(convlast.apply_layout(build(), manifest))


def test_a_state_dict_of_the_model_alone_is_preferred(tmp_path: Path) -> None:
    """A state dict that is the model's is meant, and not a part of a larger one."""
    original, twin = generator(), generator()
    saved = {"trainer": Trainer(net=twin, head=critic()).state_dict(), "net": original.state_dict()}
    assert_equal(convlast.load_into(generator(), builders.save(saved, tmp_path / "a.pt")), original)


def test_a_part_under_another_name_is_not_taken_for_the_model(tmp_path: Path) -> None:
    """If the model's own names are in the file, further tensors are refused as by PyTorch."""
    outer = nn.Conv3d(3, 4, 3)
    outer.add_module("inner", nn.Conv3d(3, 4, 3))
    path = builders.save(outer.state_dict(), tmp_path / "a.pt")
    with pytest.raises(ArchitectureMismatchError, match=r"Not in the model: inner\.weight"):
        convlast.load_into(nn.Conv3d(3, 4, 3), path)


def test_moments_under_the_names_of_the_weights_are_no_weights(tmp_path: Path) -> None:
    """The state of an optimizer is not taken for a second network."""
    original = generator()
    moments = {key: torch.zeros_like(value) for key, value in original.state_dict().items()}
    saved = {"optimizer": {"exp_avg": moments}, "net": original.state_dict()}
    assert_equal(convlast.load_into(generator(), builders.save(saved, tmp_path / "a.pt")), original)


def test_a_filter_that_is_a_buffer_gets_its_layout() -> None:
    """A weight that is not trained, and so is no parameter, is a layer of the file as well."""
    model = nn.Module()
    model.register_buffer("weight", torch.ones(4, 3, 3, 3, 3))
    convlast.apply_layout(model, wrapping.manifest_of(model.state_dict()))
    assert model.get_buffer("weight").stride() == (81, 1, 27, 9, 3)


def test_keys_that_would_become_one_are_not_renamed() -> None:
    """Two tensors of a file are never taken for one, whatever their names have in common."""
    model = Model({"a.base_layer.w": (2,)}, {"a.base_layer.w": 1}, frozenset({1}))
    for keys in (("a.w", "a.module.w"), ("a.module.w", "a.w")):
        found = fits_of(StateDict("", dict.fromkeys(keys, (2,))), model)
        assert not any(fit.covers(model) for fit in found)
    assert fits_of(StateDict("", {"a.w": (2,)}), model)[0].covers(model)

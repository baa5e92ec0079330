"""Wrappers in the file, or around the model, change no layer that is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

import convlast
from convlast.errors import ArchitectureMismatchError
from convlast.loading.names import FORMS, bare, splits
from convlast.loading.state_dicts import load_one_of
from tests import builders
from tests.convlast.loading import wrapping

WRAPPERS = st.dictionaries(
    st.sampled_from(wrapping.PLACES),
    st.lists(st.sampled_from(wrapping.INSERTED), min_size=1, max_size=2),
)
NAMES = st.from_regex(r"[a-d0-9]{1,2}(\.[a-d0-9]{1,2}){0,3}", fullmatch=True)


@given(WRAPPERS, WRAPPERS)
def test_the_layout_is_applied_whatever_wraps_the_modules(
    in_file: dict[str, list[str]], in_model: dict[str, list[str]]
) -> None:
    """Whatever wrappers the saved model and the present one have, each layer gets its layout."""
    saved = wrapping.with_wrappers(wrapping.pair(), in_file).state_dict()
    model = wrapping.with_wrappers(wrapping.pair(), in_model)

    convlast.apply_layout(model, wrapping.manifest_of(saved))

    wrapping.assert_laid_out(model)


@given(WRAPPERS, WRAPPERS)
def test_the_weights_are_loaded_whatever_wraps_the_modules(
    in_file: dict[str, list[str]], in_model: dict[str, list[str]]
) -> None:
    """Whatever wrappers the saved model and the present one have, each tensor gets its value."""
    original = wrapping.pair()
    values = [value.clone() for value in original.state_dict().values()]
    saved = wrapping.with_wrappers(original, in_file).state_dict()
    model = wrapping.with_wrappers(wrapping.pair(), in_model)

    load_from_memory(model, saved)

    for mine, value in zip(model.state_dict().values(), values, strict=True):
        assert torch.equal(mine, value)


@given(NAMES, st.lists(st.sampled_from(wrapping.INSERTED), max_size=3), st.data())
def test_a_name_does_not_depend_on_inserted_parts(
    name: str, inserted: list[str], data: st.DataObject
) -> None:
    """Parts that wrappers insert before any part of a name leave its bare form as it is."""
    parts = name.split(".")
    for part in inserted:
        parts.insert(data.draw(st.integers(0, len(parts) - 1)), part)
        parts = ".".join(parts).split(".")

    assert bare(".".join(parts)) == name


@given(NAMES | st.text("a.", max_size=40))
def test_a_prefix_and_the_rest_make_the_name(name: str) -> None:
    """Each split of a name gives it back, and so do its forms for a name without wrappers."""
    assert all(prefix + rest == name for prefix, rest in splits(name))
    assert len(list(splits(name))) <= 17
    assert {form(name) for form in FORMS} == {name}


@given(st.sampled_from(["module", "base_layer", "original_module"]))
def test_parts_that_a_model_has_of_its_own_are_kept_apart(part: str) -> None:
    """Two layers that only differ by such a part are not taken for one, in a compiled model too."""
    model = nn.Module()
    model.block = nn.Conv3d(2, 3, 3)
    model.block.add_module(part, nn.Conv3d(4, 5, 3))
    saved = model.state_dict()
    values = {key: value.clone() for key, value in saved.items()}
    fresh = nn.Module()
    fresh.block = nn.Conv3d(2, 3, 3)
    fresh.block.add_module(part, nn.Conv3d(4, 5, 3))
    outer = wrapping.wrapped(fresh, "_orig_mod")

    load_from_memory(outer, saved)
    convlast.apply_layout(outer, wrapping.manifest_of(saved))

    wrapping.assert_laid_out(outer)
    for key, value in fresh.state_dict().items():
        assert torch.equal(value, values[key])


def compiled(model: nn.Module) -> nn.Module:
    """Return a model as torch.compile wraps it, without the compiler that is never called."""
    wrapper: Any = torch.compile(model, backend="eager")
    assert isinstance(wrapper, nn.Module)
    return wrapper


def compiled_part() -> nn.Module:
    """Return the pair with one part compiled."""
    model = wrapping.pair()
    assert isinstance(model.enc, nn.Module)
    model.enc = compiled(model.enc)
    return model


def checkpointed_part() -> nn.Module:
    """Return the pair with one layer that recomputes its activations."""
    model = wrapping.pair()
    assert isinstance(model.dec, nn.Sequential)
    model.dec[0] = checkpoint_wrapper(model.dec[0])
    return model


REAL: dict[str, Callable[[], nn.Module]] = {
    "compiled": lambda: compiled(wrapping.pair()),
    "compiled part": compiled_part,
    "checkpointed part": checkpointed_part,
    "parallel": lambda: nn.DataParallel(wrapping.pair()),
    "parallel and compiled": lambda: compiled(nn.DataParallel(wrapping.pair())),
}


@pytest.mark.parametrize("in_file", REAL)
@pytest.mark.parametrize("in_model", REAL)
def test_the_real_wrappers_of_pytorch(in_file: str, in_model: str, tmp_path: Path) -> None:
    """A file of a model in one wrapper is loaded into a model in another, and laid out."""
    saved = REAL[in_file]()
    builders.save(saved.state_dict(), tmp_path / "a.pt")
    convlast.convert(tmp_path / "a.pt", tmp_path / "b.pt", convlast.Options(smoke="none"))
    loaded, laid_out = REAL[in_model](), REAL[in_model]()

    assert convlast.load_into(loaded, tmp_path / "b.pt") is loaded
    convlast.apply_layout(laid_out, tmp_path / "b.pt")

    wrapping.assert_laid_out(loaded)
    wrapping.assert_laid_out(laid_out)
    for mine, value in zip(loaded.parameters(), saved.parameters(), strict=True):
        assert torch.equal(mine, value)


def test_an_average_gets_its_counter(tmp_path: Path) -> None:
    """Of weights and their average, a model that keeps an average gets the latter."""
    module = nn.Conv3d(3, 4, 3)
    average = AveragedModel(module)
    average.n_averaged.fill_(7)
    builders.save({"model": module.state_dict(), "ema": average.state_dict()}, tmp_path / "a.pt")

    fresh = AveragedModel(nn.Conv3d(3, 4, 3))
    convlast.load_into(fresh, tmp_path / "a.pt")

    assert fresh.n_averaged == 7


class Versioned(nn.Conv3d):
    """A convolution whose state dict has a version, which its loader sees."""

    _version = 3
    seen: object = None

    def _load_from_state_dict(
        self,
        state_dict: dict[str, object],
        prefix: str,
        local_metadata: dict[str, int],
        *rest: object,
    ) -> None:
        self.seen = local_metadata.get("version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


@pytest.mark.parametrize("in_file", ["module", "net.module", "_orig_mod"])
@pytest.mark.parametrize("in_model", ["", "_orig_mod", "module"])
def test_the_version_of_a_wrapped_module_reaches_its_loader(in_file: str, in_model: str) -> None:
    """Versions, by which modules read older state dicts, follow the modules to their new names."""
    saved = wrapping.wrapped(Versioned(3, 4, 3), in_file).state_dict()
    inner = Versioned(3, 4, 3)

    load_from_memory(wrapping.wrapped(inner, in_model) if in_model else inner, saved)

    assert inner.seen == 3


def adapted(layer: nn.Module) -> nn.Module:
    """Return a layer in an adapter's wrapper, beside the adapter."""
    wrapper = nn.Module()
    wrapper.base_layer = layer
    wrapper.lora_A = nn.ModuleDict({"default": nn.Conv3d(8, 2, 3, bias=False)})
    return wrapper


def with_adapter() -> nn.Module:
    """Return the pair with an adapter, as PEFT makes one."""
    model = wrapping.pair()
    assert isinstance(model.dec, nn.Sequential)
    model.dec[0] = adapted(model.dec[0])
    return wrapping.wrapped(model, "base_model.model")


def test_a_model_with_an_adapter_gets_the_layout_of_its_base() -> None:
    """The layers of the base get their layout; the adapter's are not in the file."""
    model = with_adapter()
    convlast.apply_layout(model, wrapping.manifest_of(wrapping.pair().state_dict()))
    adapter = model.get_parameter("base_model.model.dec.0.lora_A.default.weight")
    assert adapter.is_contiguous()
    adapter.data = adapter.data.to(memory_format=torch.channels_last_3d)
    wrapping.assert_laid_out(model)


def test_a_base_gets_its_layers_from_a_file_with_an_adapter() -> None:
    """The adapter's layers in the file are passed over, in loading only if that is asked for."""
    saved, base = with_adapter().state_dict(), wrapping.pair()
    convlast.apply_layout(base, wrapping.manifest_of(saved))
    wrapping.assert_laid_out(base)
    with pytest.raises(
        ArchitectureMismatchError, match=r"Not in the model: .*lora_A.*strict=False"
    ):
        load_from_memory(base, saved)
    load_from_memory(base, saved, strict=False)
    first = base.get_parameter("dec.0.weight")
    assert torch.equal(first, saved["base_model.model.dec.0.base_layer.weight"])


def load_from_memory(module: nn.Module, root: object, *, strict: bool = True) -> None:
    """Load a state dict as `load_into` does, without a file."""
    load_one_of(root, module, "a.pt", wrapper=None, strict=strict)

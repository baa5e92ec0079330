"""A mismatch is said in few lines, each name once, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import convlast
from convlast.errors import ArchitectureMismatchError
from convlast.options import Options
from tests import builders


def network(features: int = 4) -> nn.Sequential:
    """Return a deep network."""
    return nn.Sequential(*(nn.Conv3d(features, features, 3) for _ in range(30)))


def refusal_of(model: nn.Module, root: object, folder: Path) -> ArchitectureMismatchError:
    """Return the error of loading a model from a file of these objects."""
    with pytest.raises(ArchitectureMismatchError) as refusal:
        convlast.load_into(model, builders.save(root, folder / "a.pt"))
    return refusal.value


def test_many_names_take_few_lines(tmp_path: Path) -> None:
    """A model of other names and shapes is refused in five lines; the details have more names."""
    saved = network(3).state_dict() | {f"x.{key}": torch.ones(1) for key in network().state_dict()}
    model = nn.ModuleDict({**dict(network().named_children()), "head": network()})

    error = refusal_of(model, {"net": saved, "other": nn.Linear(2, 2).state_dict()}, tmp_path)

    text = str(error)
    assert len(text.splitlines()) <= 5
    assert len(text) < 1000
    assert "'a.pt' does not fit the ModuleDict" in text
    assert "The closest of 2 state dicts is 'net'" in text
    for kind in ("Not in the file", "Not in the model", "Of another shape"):
        assert text.count(kind) == 1
    assert text.count("0.weight: [3, 3, 3, 3, 3] in the file, [4, 4, 3, 3, 3] in the model") == 1
    missing = error.details["missing"]
    assert isinstance(missing, list)
    assert missing[-1] == "and 40 more"


def test_a_key_is_shown_on_one_line(tmp_path: Path) -> None:
    """Whatever the file calls its tensors, the message stays short."""
    saved = {"a\nb" * 1000: torch.ones(2), "weight": torch.ones(2, 2), "bias": torch.ones(2)}
    text = str(refusal_of(nn.Linear(2, 2), saved, tmp_path))
    assert len(text.splitlines()) == 2
    assert len(text) < 1000


def pruned(layer: nn.Module) -> nn.Module:
    """Return a pruned layer."""
    prune_layer: Callable[..., nn.Module] = prune.l1_unstructured
    return prune_layer(layer, "weight", 0.5)


RECOMPUTED: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "pruned": (pruned, "prune.remove"),
    "weight norm": (parametrizations.weight_norm, "has weight norm"),
    "spectral norm": (parametrizations.spectral_norm, "remove_parametrizations"),
    "old weight norm": (nn.utils.weight_norm, "remove_weight_norm"),
    "old spectral norm": (nn.utils.spectral_norm, "spectral norm"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of weight norm's old form
@pytest.mark.parametrize("name", RECOMPUTED)
def test_a_weight_that_is_recomputed_in_one_of_the_two(name: str, tmp_path: Path) -> None:
    """The remedy names the function that removes it, whichever of the two has it."""
    wrap, cure = RECOMPUTED[name]
    for saved, model in (
        (wrap(nn.Conv3d(2, 2, 3)), nn.Conv3d(2, 2, 3)),
        (nn.Conv3d(2, 2, 3), wrap(nn.Conv3d(2, 2, 3))),
    ):
        assert cure in refusal_of(model, saved.state_dict(), tmp_path).remedy


def test_the_layout_of_a_pruned_layer_has_its_own_remedy(tmp_path: Path) -> None:
    """A layer that was pruned in the file, and is not in the model, is told as such."""
    saved = pruned(nn.Conv3d(2, 2, 3)).state_dict() | {"x.weight": torch.ones(4, 4, 3, 3, 3)}
    builders.save(saved, tmp_path / "a.pt")
    convlast.convert(tmp_path / "a.pt", tmp_path / "b.pt", Options(smoke="none"))
    with pytest.raises(ArchitectureMismatchError, match="pruned") as refusal:
        convlast.apply_layout(nn.Conv3d(2, 2, 3), tmp_path / "b.pt")
    assert "Not in the model: weight_orig" in str(refusal.value)


class Particular(nn.Module):
    """A model that refuses every state dict in its own words."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def _load_from_state_dict(self, *arguments: object) -> None:
        errors = arguments[-1]
        assert isinstance(errors, list)
        errors.append("it is\nWednesday")


def test_the_words_of_a_model_are_passed_on(tmp_path: Path) -> None:
    """If names and shapes fit, the model's own reason is told, on one line."""
    text = str(refusal_of(Particular(), Particular().state_dict(), tmp_path))
    assert "it is Wednesday" in text
    assert len(text.splitlines()) == 2


class Renaming(nn.Module):
    """A model that reads state dicts of an older form."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        register: Any = self.register_load_state_dict_pre_hook
        register(self._rename)

    @staticmethod
    def _rename(_: nn.Module, state_dict: dict[str, object], *__: object) -> None:
        for key in [key for key in state_dict if key.startswith("fc_")]:
            state_dict[key.replace("fc_", "layer.")] = state_dict.pop(key)


def test_a_model_that_renames_keys_by_itself_is_loaded(tmp_path: Path) -> None:
    """Names that only the model understands are left to it."""
    saved = {"fc_weight": torch.ones(2, 2), "fc_bias": torch.ones(2)}
    model = Renaming()
    convlast.load_into(model, builders.save({"net": saved}, tmp_path / "a.pt"))
    assert torch.equal(model.layer.weight, saved["fc_weight"])


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    """A file of bare tensors has no weights by name."""
    text = str(refusal_of(nn.Linear(2, 2), [torch.ones(2)], tmp_path))
    assert "holds no state dict" in text

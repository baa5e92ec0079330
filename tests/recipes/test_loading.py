"""Each recipe of `docs/loading.md`, run as it stands there, with the real package."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.recipes import frameworks
from tests.recipes.page import BESIDE_A_CPU_BUILD, Block, sections

ABOUT = "Loading a converted checkpoint"


@dataclass(frozen=True)
class Recipe:
    """What a recipe starts from.

    Attributes:
        build: Makes the model.
        save: Writes its weights into a folder, under the name that the recipe reads.
        shape: Of an input.
    """

    build: Callable[[], nn.Module]
    save: Callable[[Any, Path], None]
    shape: tuple[int, ...]


PLAIN: dict[str, Recipe] = {
    "PyTorch": Recipe(frameworks.plain, frameworks.save_state_dict("model.pt"), (2, 1, 8, 8, 8)),
    "Safetensors": Recipe(frameworks.plain, frameworks.save_safetensors, (2, 1, 8, 8, 8)),
    "Prefixes": Recipe(frameworks.plain, frameworks.save_distributed, (2, 1, 8, 8, 8)),
    "Several networks in one file": Recipe(frameworks.plain, frameworks.save_gan, (2, 1, 8, 8, 8)),
}

FRAMEWORKS: dict[str, Recipe] = {
    "torchvision": Recipe(
        frameworks.r3d_18, frameworks.save_state_dict("r3d_18.pt"), (2, 3, 4, 32, 32)
    ),
    "MONAI": Recipe(frameworks.monai_unet, frameworks.save_with_monai, (2, 1, 16, 16, 16)),
    "nnU-Net": Recipe(frameworks.plain_conv_unet, frameworks.save_with_nnunet, (2, 1, 16, 16, 16)),
    "diffusers": Recipe(frameworks.wan_vae, frameworks.save_pretrained("vae"), (1, 3, 5, 16, 16)),
    "transformers": Recipe(
        frameworks.videomae, frameworks.save_pretrained("videomae"), (2, 4, 3, 16, 16)
    ),
    "Lightning": Recipe(frameworks.segmenter, frameworks.save_with_lightning, (2, 1, 8, 8, 8)),
}


def test_every_section_of_the_page_is_run() -> None:
    """A recipe that is added to the page is added to these tests."""
    assert sections().keys() == {ABOUT, BESIDE_A_CPU_BUILD, *PLAIN, *FRAMEWORKS}


@pytest.mark.parametrize("name", PLAIN)
def test_a_recipe_of_pytorch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each block loads has the exact layout, the values, and the results of the original."""
    monkeypatch.chdir(tmp_path)
    run_recipe(sections()[name], PLAIN[name])


@pytest.mark.recipes
@pytest.mark.filterwarnings("ignore")  # the frameworks warn of this and that
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_recipe_of_a_framework(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each block loads has the exact layout, the values, and the results of the original."""
    monkeypatch.chdir(tmp_path)
    run_recipe(sections()[name], FRAMEWORKS[name])


def run_recipe(blocks: list[Block], recipe: Recipe) -> None:
    """Save a model, and run the blocks in the current folder; each of Python ends with a model."""
    torch.manual_seed(0)
    original = recipe.build().eval()
    recipe.save(original, Path())
    original.eval()
    names: dict[str, Any] = {"__name__": "recipe"}
    for block in blocks:
        if block.language == "sh":
            run_shell(block.code)
            continue
        exec(block.code, names)  # noqa: S102  # the page's own code
        assert_loaded(names.pop("model").eval(), original, recipe.shape)
    assert [block.language for block in blocks][:2] == ["sh", "python"]


def run_shell(script: str) -> None:
    """Run commands with the programs of this environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def assert_loaded(model: nn.Module, original: nn.Module, shape: tuple[int, ...]) -> None:
    """Check strides, values and results of a model against those of the one that was saved."""
    strides = strides_of_the_page()
    expected = copy.deepcopy(original)
    nn.utils.convert_conv3d_weight_memory_format(expected, torch.channels_last_3d)
    assert strides(model) == strides(expected) != strides(original)
    values = model.state_dict()
    assert values.keys() == original.state_dict().keys()
    for key, value in original.state_dict().items():
        assert torch.equal(values[key], value), key
    sample = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = result_of(original(sample)), result_of(model(sample))
    assert (before - after).abs().max() <= 1e-4 * before.abs().max()


def strides_of_the_page() -> Callable[[nn.Module], dict[str, tuple[int, ...]]]:
    """Return the function by which the page says how to look for the layout."""
    names: dict[str, Any] = {}
    (block,) = sections()[ABOUT]
    exec(block.code, names)  # noqa: S102  # the page's own code
    found: Callable[[nn.Module], dict[str, tuple[int, ...]]] = names["strides"]
    return found


def result_of(output: Any) -> torch.Tensor:
    """Return the tensor that a model gives, which may stand first among others."""
    found: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return found

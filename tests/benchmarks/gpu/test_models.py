"""The models that are measured on a GPU, built as they will be there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu.models import MODELS, PatchEmbedding, built
from convlast.architectures.packages import import_inside
from convlast.errors import OptionError

MILLIONS = {
    "r3d_18": 33.4, "r2plus1d_18": 31.5, "s3d": 8.3, "UNet": 4.8, "SegResNet": 4.7,
    "DynUNet": 31.2, "Wan-VAE": 126.9, "CogVideoX-VAE": 215.6, "X3D-M": 3.8, "patch-embedding": 1.2,
}  # fmt: skip
"""Parameters."""


@pytest.mark.recipes
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_width_that_people_use(name: str, tmp_path: Path) -> None:
    """And convolutions to convert, and the input that it is to be given."""
    model = MODELS[name]
    try:
        import_inside(model.architecture.rpartition(".")[0])
    except OptionError as error:
        pytest.skip(str(error))
    subject, converted = built(model, tmp_path / "model.pt")
    parameters = subject.make_module().parameters()
    assert round(sum(each.numel() for each in parameters) / 1e6, 1) == MILLIONS[name]
    assert converted
    (source,) = subject.make_inputs(model.input_shape[0]).args
    assert isinstance(source, torch.Tensor)
    assert source.shape == model.input_shape


def test_the_patch_embedding_gives_a_token_for_each_patch() -> None:
    """(N, patches, width), whichever layout its weight has."""
    module = PatchEmbedding(width=8, patch=(2, 4, 4)).eval()
    clip = torch.randn(2, 3, 4, 8, 8)
    with torch.no_grad():
        before = module(clip)
        torch.nn.utils.convert_conv3d_weight_memory_format(module, torch.channels_last_3d)
        assert torch.allclose(module(clip), before, atol=1e-5)
    assert before.shape == (2, 8, 8)

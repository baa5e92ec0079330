"""The models of the frameworks, found again by their names or by what is saved with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convlast.architectures import Case, Subject, discover, find_subject
from convlast.architectures.packages import attribute_of, import_inside
from convlast.architectures.resolving import PREFIXES
from convlast.containers import open_checkpoint
from convlast.options import Options
from convlast.planning.plan import make_plan
from tests.builders import save
from tests.recipes import frameworks

pytestmark = pytest.mark.recipes

NNUNET = {
    "n_stages": 3,
    "features_per_stage": [8, 16, 32],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": 3,
    "strides": [1, 2, 2],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
    "n_conv_per_stage": 2,
    "n_conv_per_stage_decoder": 2,
}
UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [8, 16, 32]}
DYNUNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "kernel_size": [3, 3, 3],
    "strides": [1, 2, 2],
    "upsample_kernel_size": [2, 2],
    "filters": [8, 16, 32],
}
SEGRESNET = {"spatial_dims": 3, "init_filters": 8, "in_channels": 1, "out_channels": 2}
PLAIN_CONV_UNET = "dynamic_network_architectures.architectures.unet.PlainConvUNet"

NAMED: dict[str, tuple[Callable[[], nn.Module], str, dict[str, Any]]] = {
    "r3d_18": (frameworks.r3d_18, "torchvision.models.video.r3d_18", {}),
    "mc3_18": (frameworks.mc3_18, "torchvision.models.video.mc3_18", {}),
    "UNet": (frameworks.monai_unet, "monai.networks.nets.UNet", {**UNET, "strides": [2, 2]}),
    "SegResNet": (frameworks.segresnet, "monai.networks.nets.SegResNet", SEGRESNET),
    "DynUNet": (frameworks.dynunet, "monai.networks.nets.DynUNet", DYNUNET),
    "PlainConvUNet": (
        frameworks.plain_conv_unet,
        PLAIN_CONV_UNET,
        {**NNUNET, "input_channels": 1, "num_classes": 2},
    ),
}


def subject_of(folder: Path, file: Path, **options: Any) -> Subject:
    """Find the model of a file."""
    checkpoint = open_checkpoint(file)
    plan = make_plan(checkpoint, "channels_last_3d")
    asked = Options.parse(**options)
    subject = find_subject(Case(checkpoint, plan, asked, spec=discover(folder, file)))
    assert subject is not None
    assert subject.weights
    return subject


def agree(subject: Subject, model: nn.Module) -> None:
    """Hold that a subject gives what the model gives."""
    inputs = subject.make_inputs(2)
    with torch.no_grad():
        results = [
            getattr(each, subject.entry)(*inputs.args, **inputs.kwargs)
            for each in (subject.make_module(), model.eval())
        ]
    left, right = (each if isinstance(each, Tensor) else each[0] for each in results)
    assert torch.equal(left, right)


@pytest.mark.parametrize(("make", "name", "options"), NAMED.values(), ids=NAMED.keys())
def test_a_model_is_built_by_its_name(
    tmp_path: Path, make: Callable[[], nn.Module], name: str, options: dict[str, Any]
) -> None:
    """It has the values of the file, and gives what they gave, on an input that was found."""
    model = make()
    path = save(model.state_dict(), tmp_path / "m.pt")
    agree(subject_of(tmp_path, path, architecture=name, architecture_options=options), model)


@pytest.mark.parametrize("entry", ["forward", "encode", "decode"])
def test_a_model_of_diffusers_is_told_by_its_config(tmp_path: Path, entry: str) -> None:
    """Each of its methods can be run."""
    model = frameworks.wan_vae()
    model.save_pretrained(tmp_path / "vae")  # type: ignore[operator]  # diffusers' own

    subject = subject_of(
        tmp_path,
        tmp_path / "vae" / "diffusion_pytorch_model.safetensors",
        entry_point=entry,
        input_shape=f"1,{4 if entry == 'decode' else 3},5,16,16",
    )

    assert subject.name == "diffusers.AutoencoderKLWan"
    assert subject.make_module().state_dict().keys() == model.state_dict().keys()
    inputs = subject.make_inputs(1)
    with torch.no_grad():
        getattr(subject.make_module(), entry)(*inputs.args, **inputs.kwargs)


def test_a_model_of_transformers_is_told_by_its_config(tmp_path: Path) -> None:
    """Though it calls its tensors otherwise in files; the frames come first in its input."""
    model = frameworks.videomae()
    model.save_pretrained(tmp_path)  # type: ignore[operator]  # transformers' own

    subject = subject_of(tmp_path, tmp_path / "model.safetensors")

    agree(subject, model)
    (clip,) = subject.make_inputs(1).args
    assert isinstance(clip, Tensor)
    assert clip.shape == (1, 4, 3, 16, 16)


def test_a_network_of_nnunet_is_told_by_its_plans(tmp_path: Path) -> None:
    """Its checkpoints hold them."""
    model = frameworks.plain_conv_unet()
    architecture = {"network_class_name": PLAIN_CONV_UNET, "arch_kwargs": NNUNET}
    path = save(
        {
            "network_weights": model.state_dict(),
            "init_args": {
                "configuration": "3d_fullres",
                "plans": {"configurations": {"3d_fullres": {"architecture": architecture}}},
                "dataset_json": {
                    "channel_names": {"0": "CT"},
                    "labels": {"background": 0, "liver": 1},
                },
            },
        },
        tmp_path / "checkpoint_final.pth",
    )
    agree(subject_of(tmp_path, path), model)


def test_no_function_of_the_packages_that_runs_code_is_a_model() -> None:
    """What these packages hold beside models would run a stranger's file, or a program."""
    from convlast.architectures.resolving import resolve
    from convlast.errors import ArchitectureNotAllowedError

    for name in (
        "transformers.utils.import_utils.direct_transformers_import",
        "transformers.dynamic_module_utils.get_class_from_dynamic_module",
        "transformers.testing_utils.execute_subprocess_async",
        "transformers.pipeline",
        "transformers.AutoModel",
        "transformers.AutoModel.from_pretrained",
        "transformers.PreTrainedModel.from_pretrained",
        "diffusers.utils.dynamic_modules_utils.get_class_from_dynamic_module",
        "diffusers.DiffusionPipeline",
        "monai.networks.nets.torch.hub.load",
        "monai.networks.nets.resnet.get_pretrained_resnet_medicalnet",
        "dynamic_network_architectures.building_blocks.helper.get_matching_pool_op",
    ):
        with pytest.raises(ArchitectureNotAllowedError):
            resolve(name)
    module = import_inside("transformers.utils.import_utils")
    assert callable(attribute_of(module, "direct_transformers_import")), "it is there, though"


def test_the_prefixes_are_those_of_the_packages() -> None:
    """Each that is installed for the recipes has models below its prefix."""
    for prefix in set(PREFIXES) - {"pytorchvideo.models"}:
        assert import_inside(prefix).__name__ == prefix

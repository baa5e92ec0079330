"""The models of the recipes, small and with random weights, and files as their frameworks write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn


def plain() -> nn.Module:
    """Two convolutions and what stands between them."""
    return nn.Sequential(nn.Conv3d(1, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 2, 3))


def save_state_dict(name: str) -> Any:
    """Return what saves a model's state dict under a name."""
    return lambda model, folder: torch.save(model.state_dict(), folder / name)


def save_safetensors(model: nn.Module, folder: Path) -> None:
    """Save as `safetensors` does."""
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")


def save_distributed(model: nn.Module, folder: Path) -> None:
    """Save from within a wrapper, as training on several GPUs does."""
    wrapped = nn.Module()
    wrapped.module = model
    torch.save(wrapped.state_dict(), folder / "distributed.pt")


def save_gan(model: nn.Module, folder: Path) -> None:
    """Save two networks in one file; the other one comes first, and has some of the same names."""
    critic = nn.Sequential(nn.Conv3d(2, 8, 3), nn.ReLU(), nn.Conv3d(8, 1, 3))
    networks = {"critic": critic.state_dict(), "generator": model.state_dict()}
    torch.save(networks, folder / "gan.pt")


def r3d_18() -> nn.Module:
    """torchvision's, which has one size."""
    from torchvision.models import video

    model: nn.Module = video.r3d_18()
    return model


def mc3_18() -> nn.Module:
    """torchvision's, with 3-D convolutions at first and flat ones later."""
    from torchvision.models import video

    model: nn.Module = video.mc3_18()
    return model


def r2plus1d_18() -> nn.Module:
    """torchvision's, whose convolutions are flat or thin."""
    from torchvision.models import video

    model: nn.Module = video.r2plus1d_18()
    return model


def monai_unet() -> nn.Module:
    """MONAI's U-Net with two levels."""
    from monai.networks.nets import UNet

    model: nn.Module = UNet(3, 1, 2, (8, 16, 32), (2, 2))
    return model


def segresnet() -> nn.Module:
    """MONAI's SegResNet, with group norms."""
    from monai.networks.nets import SegResNet

    model: nn.Module = SegResNet(3, init_filters=8, in_channels=1, out_channels=2)
    return model


def dynunet() -> nn.Module:
    """MONAI's DynUNet, with instance norms."""
    from monai.networks.nets import DynUNet

    model: nn.Module = DynUNet(3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[8, 16, 32])
    return model


def save_with_monai(model: nn.Module, folder: Path) -> None:
    """Save with MONAI's own handler, network and optimizer."""
    from ignite.engine import Engine
    from monai.handlers import CheckpointSaver

    optimizer = torch.optim.AdamW(model.parameters())
    engine = Engine(lambda _engine, _batch: None)
    saver = CheckpointSaver(
        str(folder),
        {"net": model, "optimizer": optimizer, "trainer": engine},
        save_final=True,
        final_filename="unet.pt",
    )
    saver.attach(engine)
    engine.run([0], max_epochs=1)


def _nnunet_options() -> dict[str, Any]:
    return {
        "input_channels": 1,
        "n_stages": 3,
        "features_per_stage": (8, 16, 32),
        "conv_op": nn.Conv3d,
        "kernel_sizes": 3,
        "strides": (1, 2, 2),
        "num_classes": 2,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }


def plain_conv_unet() -> nn.Module:
    """nnU-Net's default network."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    model: nn.Module = PlainConvUNet(
        n_conv_per_stage=2, n_conv_per_stage_decoder=2, **_nnunet_options()
    )
    return model


def residual_encoder_unet() -> nn.Module:
    """The network of nnU-Net's residual presets."""
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    model: nn.Module = ResidualEncoderUNet(
        n_blocks_per_stage=1, n_conv_per_stage_decoder=1, **_nnunet_options()
    )
    return model


def save_with_nnunet(model: nn.Module, folder: Path) -> None:
    """Save all that nnU-Net's trainer does, after a step of its optimizer."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-2, momentum=0.99, nesterov=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    checkpoint = {
        "network_weights": model.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 1},
        "logging": {
            "mean_fg_dice": [np.float64(0.5)],
            "dice_per_class_or_region": [[np.float64(0.25), np.float64("nan")]],
            "train_losses": [np.float32(0.75)],
            "lrs": [0.01],
        },
        "_best_ema": np.float64(0.5),
        "current_epoch": 1,
        "init_args": {"plans": {"configurations": {}}, "configuration": "3d_fullres", "fold": 0},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "checkpoint_final.pth")


def wan_vae() -> nn.Module:
    """A video VAE of diffusers, narrow."""
    from diffusers import AutoencoderKLWan

    model: nn.Module = AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return model


def videomae() -> nn.Module:
    """A video transformer, whose patches are cut out by a convolution."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    model: nn.Module = VideoMAEForVideoClassification(
        VideoMAEConfig(
            image_size=16,
            patch_size=8,
            num_frames=4,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    )
    return model


def save_pretrained(name: str) -> Any:
    """Return what saves a repository, weights and configuration, under a name."""
    return lambda model, folder: model.save_pretrained(folder / name)


def segmenter() -> nn.Module:
    """A LightningModule."""
    import lightning

    class Segmenter(lightning.LightningModule):  # type: ignore[misc]  # of a package without types
        """The one of the recipe."""

        def __init__(self, features: int) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.network = nn.Sequential(
                nn.Conv3d(1, features, 3), nn.ReLU(), nn.Conv3d(features, 2, 3)
            )

        def forward(self, x: torch.Tensor) -> Any:
            return self.network(x)

        def training_step(self, batch: list[torch.Tensor], index: int) -> Any:
            loss = self(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters())
            return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])]

    return Segmenter(8)


def trainer(folder: Path, max_epochs: int = 1) -> Any:
    """Return a Trainer that writes to a folder and says nothing."""
    import lightning
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

    return lightning.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[EarlyStopping("loss"), ModelCheckpoint(folder / "best", monitor="loss")],
    )


def samples() -> Any:
    """Return what is trained on."""
    data = torch.utils.data.TensorDataset(torch.randn(4, 1, 8, 8, 8))
    return torch.utils.data.DataLoader(data, batch_size=2)


def save_with_lightning(model: nn.Module, folder: Path) -> None:
    """Train for an epoch, and let the Trainer save."""
    training = trainer(folder)
    training.fit(model, samples())
    training.save_checkpoint(folder / "last.ckpt")

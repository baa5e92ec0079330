"""Subjects for the smoke of whole models, made of modules that a test writes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convlast.architectures.subject import Inputs, Subject
from convlast.smoke.model.specimen import Weights
from convlast.smoke.model.ways import Request
from convlast.smoke.model.whole import ModelSmoke, smoke_model
from convlast.smoke.modes import OperatorMode
from convlast.smoke.out_of_memory import NO_ENGINE

CPU = torch.device("cpu")


class Refusing(OperatorMode):
    """Has cuDNN find no kernel for some convolutions.

    Attributes:
        refuses: Told input and weight of each, (N, C, D, H, W) and (O, I, D, H, W).
        refused: How many were refused.
    """

    def __init__(self, refuses: Callable[[Tensor, Tensor], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self.refuses, self.refused = refuses, 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator, or refuse it as PyTorch does."""
        if func._schema.name == "aten::convolution" and self.refuses(args[0], args[1]):
            self.refused += 1
            raise RuntimeError(f"GET was {NO_ENGINE}")
        return func(*args, **(kwargs or {}))


def subject_of(
    make: Callable[[], nn.Module],
    shape: tuple[int, ...],
    *,
    entry: str = "forward",
    takes_hooks: bool = True,
) -> Subject:
    """Return a subject with the values of one model that `make` gives.

    Args:
        make: Makes the module; its values are drawn with a fixed seed, and are in each copy.
        shape: (C, D, H, W) of the input.
        entry: The method that is run.
        takes_hooks: Whether its modules can be followed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        original = make().eval()
    values = original.state_dict()

    def copy() -> nn.Module:
        module = make().eval()
        module.load_state_dict({name: value.clone() for name, value in values.items()})
        return module

    def inputs(samples: int) -> Inputs:
        generator = torch.Generator().manual_seed(0)
        return Inputs((torch.randn(samples, *shape, generator=generator),), {})

    names = [f"{name}.weight" for name, part in original.named_modules() if _is_convolution(part)]
    return Subject(
        name=type(original).__name__,
        origin="a test",
        entry=entry,
        make_module=copy,
        weights={name: name for name in names},
        make_inputs=inputs,
        takes_hooks=takes_hooks,
    )


def converted_of(subject: Subject) -> Weights:
    """Return the weights of a subject as PyTorch's own function lays them out."""
    module = subject.make_module()
    nn.utils.convert_conv3d_weight_memory_format(module, torch.channels_last_3d)
    held = dict(module.named_parameters())

    def reader(name: str) -> Callable[[], Tensor]:
        return lambda: held[name].detach()

    return {name: reader(name) for name in subject.weights.values()}


def smoked(
    make: Callable[[], nn.Module],
    shape: tuple[int, ...],
    request: Request | None = None,
    device: torch.device = CPU,
) -> ModelSmoke:
    """Smoke a model whole."""
    subject = subject_of(make, shape)
    return smoke_model(subject, converted_of(subject), device, request or Request())


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv3d | nn.ConvTranspose3d)

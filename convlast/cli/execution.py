"""Where the work is done, and how far the file is trusted."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator

from convlast.options import Options


class Trust(BaseModel):
    """How far the file is trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    allow_programs: bool = False
    """Also open TorchScript and exported programs. Opening one can run its code."""


def _split(value: object) -> object:
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value


class Execution(Trust):
    """Where the work is done."""

    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, or one GPU, e.g. cuda:1."""

    architecture_prefix: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """A module that an architecture may come from, such as mypackage.models, beside the usual ones.
    Building a model runs its code."""

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", device):
            raise ValueError(f"{device!r} is none of auto, cpu, cuda, cuda:0, cuda:1 ...")
        return device

    def refuse_unmeasurable(self, options: Options) -> None:
        """Refuse what asks for a measurement that the device cannot give.

        The conversion does so too, but only when it is clear where the artifact goes.

        Raises:
            OptionError: If there is something of that kind.
            DeviceUnavailableError: If the GPU that was asked for is absent or cannot be used.
        """
        if options.min_speedup is not None or options.select == ("fastest",):
            from convlast.conversion.fastest import refuse_unmeasurable
            from convlast.devices import resolve

            refuse_unmeasurable(options, resolve(self.device))

    def prefixes(self) -> tuple[str, ...] | None:
        """Return the modules that an architecture may come from; None for the usual ones."""
        if not self.architecture_prefix:
            return None
        from convlast.architectures.resolving import PREFIXES

        return (*PREFIXES, *self.architecture_prefix)

"""A dispatch mode that sees every operator that runs, without PyTorch's compiler."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class OperatorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's own base
    """A dispatch mode for models that run eagerly.

    By default PyTorch keeps its compiler out of a mode's code, and imports the compiler to do so:
    that takes more than a second in a new process, and then most of the mode's time per operator.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: there is no compiler to keep out."""
        return False

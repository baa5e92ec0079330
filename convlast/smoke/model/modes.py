"""What sees every operator that runs, without PyTorch's compiler."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class OperatorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's own base
    """A dispatch mode for models that run eagerly.

    PyTorch keeps its compiler out of a mode's code, which it has to import for that: more than a
    second in a new process, and most of what the mode then costs at each operator.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that there is no compiler to keep out."""
        return False

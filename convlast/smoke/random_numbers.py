"""Random numbers that do not depend on the layout or the precision.

PyTorch draws them in the order of memory, and from other bits in fp16. So a channels-last tensor,
or one in fp16, gets other numbers, and a model that draws some, such as an autoencoder that
samples, would seem to break.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from convlast.smoke.operands import written_operands

_NARROW = {torch.float16, torch.bfloat16}


def run_in_order(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an operator; if it draws random numbers, draw them in fp32, in the order of indices."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return func(*args, **kwargs)
    drawing = _Drawing(
        keeps_layout=kwargs.get("memory_format") in {None, torch.preserve_format},
        keeps_dtype=kwargs.get("dtype") is None,
    )
    given, named = tree_map_only(Tensor, drawing.replace, (tuple(args), dict(kwargs)))
    result = func(*given, **named)
    drawing.write_back(written_operands(func, args, kwargs))
    return tree_map_only(Tensor, drawing.restore, result)


class _Drawing:
    """One run of an operator on contiguous fp32 copies of its operands."""

    def __init__(self, *, keeps_layout: bool, keeps_dtype: bool) -> None:
        self._keeps_layout, self._keeps_dtype = keeps_layout, keeps_dtype
        self._copies: list[tuple[Tensor, Tensor]] = []

    def replace(self, operand: Tensor) -> Tensor:
        """Return a copy of an operand, or the operand if it is contiguous and not narrow."""
        is_narrow = operand.dtype in _NARROW
        if operand.layout != torch.strided or (operand.is_contiguous() and not is_narrow):
            return operand
        copied = (operand.float() if is_narrow else operand).contiguous()
        self._copies.append((operand, copied))
        return copied

    def write_back(self, written: Iterable[Tensor]) -> None:
        """Copy the numbers that were drawn into the operands that the operator writes to."""
        ids = {id(operand) for operand in written}
        for operand, copied in self._copies:
            if id(operand) in ids:
                operand.copy_(copied)

    def restore(self, output: Tensor) -> Tensor:
        """Return an output with the layout and the dtype that it has without the copies."""
        for operand, copied in self._copies:
            if output is copied:
                return operand
        if not self._copies:
            return output
        first, copied = self._copies[0]
        is_widened = self._keeps_dtype and output.dtype == copied.dtype
        dtype = first.dtype if is_widened else output.dtype
        if self._keeps_layout and output.shape == first.shape:
            return torch.empty_like(first, dtype=dtype).copy_(output)
        return output.to(dtype)

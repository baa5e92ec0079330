"""Watching a forward: each operator with the module that called it, and each module's turn.

Hooks watch the modules, and a dispatch mode watches the operators, also those of TorchScript and
exported programs. Such programs take no hooks, so each of their operators counts as a module.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from convlast.architectures.time_limit import NO_LIMIT, TimeLimit
from convlast.report.wording import words_of
from convlast.smoke.model.events import Failure, ModulePlace, Operation, Turn, line_of
from convlast.smoke.modes import OperatorMode
from convlast.smoke.operands import address_of, tensors_in, written_operands
from convlast.smoke.out_of_memory import is_refusal, runs_on_less
from convlast.smoke.unwritten import RESIZING, Unwritten

ROOT_NAME = "(the model itself)"
"""The place of an operator that no named module called."""


@dataclass
class _Frame:
    place: ModulePlace
    is_leaf: bool = True


class Watch(OperatorMode):
    """Watches one forward; a context manager.

    Args:
        module: The model that runs.
        takes_hooks: Whether its modules take hooks.
        on_operation: Called for each operator.
        on_turn: Called for each module's turn.
        limit: The time of the whole smoke; a forward that exceeds it ends with `TimeUp`.

    Attributes:
        written: The addresses of the storages that operators wrote to.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        takes_hooks: bool,
        on_operation: Callable[[Operation], None] | None = None,
        on_turn: Callable[[Turn], None] | None = None,
        limit: TimeLimit = NO_LIMIT,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self._stay, self._limit = ExitStack(), limit
        self._module, self._takes_hooks = module, takes_hooks
        self._on_operation, self._on_turn = on_operation, on_turn
        self._owners = {} if takes_hooks else owners_of(module)
        self._stack: list[_Frame] = []
        self._seen: Counter[str] = Counter()
        self._hooks: list[Any] = []
        self._raised: tuple[str, ModulePlace | None, str] | None = None
        self._is_telling = False
        self._unwritten = Unwritten()
        self.written: set[int] = set()

    def __enter__(self) -> Watch:
        """Begin to watch; hooks, which cost time, are added only if a callback was given.

        TorchScript's optimizer is off: on a GPU it would fuse operators, which then could not be
        seen here.
        """
        unfused = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]  # not in its __all__
        self._stay.enter_context(unfused)
        if self._takes_hooks and (self._on_operation or self._on_turn):
            for name, module in self._module.named_modules():
                if name:
                    self._follow(name, module)
        super().__enter__()  # type: ignore[no-untyped-call]  # PyTorch's
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching; an error is not suppressed."""
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]  # PyTorch's
        self._stay.close()
        for hook in self._hooks:
            hook.remove()

    def failure_of(self, error: BaseException) -> Failure:
        """Say where the watched forward raised."""
        words, place, operator = self._raised or (words_of(error), None, None)
        if self._takes_hooks:
            place = self._place_of(error) or place
        return Failure(words, place, operator, line_of(error))

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator and call the callbacks."""
        if self._is_telling:
            return func(*args, **(kwargs or {}))
        self._limit.check()
        name = func._schema.name
        try:
            result = self._unwritten.run(func, args, kwargs or {})
        except RuntimeError as error:
            self._raised = (words_of(error), self._place(name, args), name)
            if is_refusal(error) and _runs_on_less(func, args, kwargs or {}):
                raise MemoryError("cuDNN had no memory for any kernel of a convolution.") from None
            raise
        self._raised = None
        if func._schema.is_mutable:
            self.written.update(map(address_of, written_operands(func, args, kwargs or {})))
        outputs = tuple(tensors_in(result))
        if outputs:
            self._tell(name, args, outputs, is_view=func.is_view)
        return result

    def _tell(
        self, name: str, args: Sequence[Any], outputs: tuple[Tensor, ...], *, is_view: bool
    ) -> None:
        if self._on_operation is None and (self._takes_hooks or self._on_turn is None):
            return
        if self._takes_hooks:
            place = self._place(name, args)
        else:
            place = self._place_in_program(name, args)
            if not is_view and name not in RESIZING:
                self._tell_turn(Turn(place, self._activations(args), outputs))
        if self._on_operation:
            self._on_operation(Operation(place, name, tuple(args), outputs, is_view))

    def _tell_turn(self, turn: Turn) -> None:
        """Call `on_turn`, if the outputs were written; operators that it runs are not recorded."""
        if self._on_turn and not self._unwritten.is_all_of(turn.outputs):
            self._is_telling = True
            try:
                self._on_turn(turn)
            finally:
                self._is_telling = False

    def _place(self, operator: str, args: Sequence[Any]) -> ModulePlace:
        if self._stack:
            return self._stack[-1].place
        if self._takes_hooks:
            return ModulePlace(ROOT_NAME, type(self._module).__name__)
        return ModulePlace(self._owner(args) or operator, operator)

    def _place_of(self, error: BaseException) -> ModulePlace | None:
        """Return the innermost module in an error's traceback."""
        names = {id(module): name for name, module in self._module.named_modules() if name}
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        for frame in reversed(frames):
            module = frame.f_locals.get("self")
            if name := names.get(id(module)):
                return ModulePlace(name, type(module).__name__)
        return None

    def _place_in_program(self, operator: str, args: Sequence[Any]) -> ModulePlace:
        if (owner := self._owner(args)) is not None:
            return ModulePlace(owner, operator)
        short = operator.rpartition("::")[2]
        self._seen[short] += 1
        return ModulePlace(f"{short}_{self._seen[short]}", operator)

    def _owner(self, args: Sequence[Any]) -> str | None:
        """Return the name of the module that holds one of the operator's arguments."""
        for part in tensors_in(args):
            if owner := self._owners.get(part.data_ptr()):
                return owner
        return None

    def _activations(self, args: Sequence[Any]) -> tuple[Tensor, ...]:
        return tuple(part for part in tensors_in(args) if part.data_ptr() not in self._owners)

    def _follow(self, name: str, module: torch.nn.Module) -> None:
        place = ModulePlace(name, type(module).__name__)

        def begin(_module: object, _args: object) -> None:
            for frame in self._stack:
                frame.is_leaf = False
            self._stack.append(_Frame(place))

        def end(_module: object, args: object, kwargs: object, result: object) -> None:
            frame = self._stack.pop()
            if frame.is_leaf:
                self._tell_turn(
                    Turn(place, tuple(tensors_in((args, kwargs))), tuple(tensors_in(result)))
                )

        self._hooks.append(module.register_forward_pre_hook(begin))
        self._hooks.append(module.register_forward_hook(end, with_kwargs=True))


def owners_of(module: torch.nn.Module) -> dict[int, str]:
    """Return the name of the module that holds each parameter or buffer, by its address."""
    held = [*module.named_parameters(), *module.named_buffers()]
    return {
        tensor.data_ptr(): name.rpartition(".")[0] or name
        for name, tensor in held
        if tensor.numel()
    }


def _runs_on_less(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Say whether a convolution that cuDNN refused runs on a smaller input."""
    activation, weight = args[0], args[1]
    if activation.dim() != 5:
        return False
    dilation = args[5] if len(args) > 5 else [1, 1, 1]
    reach = [
        step * (extent - 1) + 1 for step, extent in zip(dilation, weight.shape[2:], strict=True)
    ]
    return runs_on_less(lambda part: func(part, *args[1:], **kwargs), activation, reach)

"""Which 5-D tensors of a checkpoint are convolution weights, and on what evidence.

A state dict does not name the modules that own its tensors. What it does tell: a convolution's
weight is 5-D and its key ends in `weight`; its bias, if any, is 1-D and as long as the output
has channels, which is the first extent of a Conv3d's weight, (O, I / groups, D, H, W), and the
second extent times groups of a ConvTranspose3d's, (I, O / groups, D, H, W).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from convlast.checkpoints.declaration import Declaration, Hyperparameters
from convlast.checkpoints.tree import Entry, KeyPath
from convlast.planning.kernels import is_plausible, may_be_sparse
from convlast.planning.optimizers import is_in_optimizer, is_moment
from convlast.report import Kind

_REPARAMETRIZED = {
    "weight_v": "weight-norm",
    "weight_orig": "reparametrized",
    "parametrizations.weight.original": "parametrized",
    "parametrizations.weight.original1": "weight-norm",
}
"""Keys of weights that are recomputed in every forward, whose layout PyTorch so ignores."""


_LARGEST = 32
"""Of a stride, a padding or a dilation; a module that says more is not believed."""


@dataclass(frozen=True)
class Candidate:
    """A 5-D tensor that is, or stands for, a convolution weight.

    Attributes:
        path: Where it stands in the checkpoint.
        tensor: The tensor, without data.
        kind: The module that owns it, as far as can be told.
        groups: Its groups, where the bias tells them.
        evidence: What that is concluded from, in words.
        unconvertible: Why converting it would be of no use; None where it would.
    """

    path: KeyPath
    tensor: torch.Tensor
    kind: Kind
    groups: int | None
    evidence: str
    unconvertible: str | None = None
    hyperparameters: Hyperparameters | None = None
    """None where the file does not tell."""
    is_guessed: bool = True
    """Whether it is concluded from the tensor alone, and no module or program says it."""


def find_weights(
    entries: Iterable[Entry],
    declared: Mapping[KeyPath, Declaration] | None = None,
    beside: Mapping[str, torch.Tensor] | None = None,
    root: object = None,
) -> tuple[list[Candidate], list[Entry]]:
    """Tell the convolution weights among the 5-D tensors from the others.

    Args:
        entries: All tensors.
        root: The object that their paths begin in, to recognise optimizers in it.
        declared: What the file itself says of some, by their paths.
        beside: Tensors by their keys that belong to the same state dict and lie in other files.

    Returns:
        The weights, and the 5-D tensors that are none, each in the checkpoint's order.
    """
    weights: list[Candidate] = []
    others: list[Entry] = []
    for entry in entries:
        if not isinstance(entry.value, torch.Tensor) or entry.value.dim() != 5:
            continue
        if is_in_optimizer(entry.path, root):
            others.append(entry)
            continue
        known = (declared or {}).get(entry.path)
        candidate = (
            _declared(entry, entry.value, known)
            if known
            else _judge(entry, entry.value, beside or {})
        )
        if candidate is None:
            others.append(entry)
        else:
            weights.append(candidate)
    return _without_sparse(weights), others


def _without_sparse(weights: list[Candidate]) -> list[Candidate]:
    """Mark the weights of sparse convolutions, which no kernel of a dense one explains.

    In a state dict with such a weight those that may be sparse are taken for sparse as well.
    """
    implausible = [
        each for each in weights if each.is_guessed and not is_plausible(each.tensor.shape)
    ]
    wrappers = {each.path[:-1] for each in implausible}
    marked = {id(each) for each in implausible} | {
        id(each)
        for each in weights
        if each.is_guessed and each.path[:-1] in wrappers and may_be_sparse(each.tensor.shape)
    }
    return [
        replace(each, unconvertible=each.unconvertible or "implausible-kernel")
        if id(each) in marked
        else each
        for each in weights
    ]


def _judge(
    entry: Entry, tensor: torch.Tensor, beside: Mapping[str, torch.Tensor]
) -> Candidate | None:
    if isinstance(entry.owner, nn.Module):
        return _judge_by_module(entry, tensor, entry.owner)
    state_dict, key = entry.owner, entry.path[-1] if entry.path else None
    if not isinstance(state_dict, dict) or not isinstance(key, str) or is_moment(entry.path):
        return None
    for ending, reason in _REPARAMETRIZED.items():
        if _ends(key, ending):
            evidence = f"a 5-D tensor whose key ends in {ending}: the weight is computed from it"
            if f"{key.removesuffix('orig')}mask" in state_dict:
                reason = "pruned"
            return Candidate(entry.path, tensor, "unknown", None, evidence, reason)
    if not _ends(key, "weight"):
        return None
    name = key.removesuffix("weight") + "bias"
    bias = state_dict.get(name, beside.get(name))
    if isinstance(bias, torch.Tensor):
        return _judge_by_bias(entry, tensor, bias)
    return Candidate(
        entry.path, tensor, "unknown", None, "a 5-D tensor whose key ends in weight, without a bias"
    )


def _judge_by_bias(entry: Entry, tensor: torch.Tensor, bias: torch.Tensor) -> Candidate | None:
    """Tell Conv3d and ConvTranspose3d apart by the length of the bias, where it tells."""
    if bias.dim() != 1:
        return None  # a LayerNorm over five dimensions has both 5-D
    first, second, channels = tensor.shape[0], tensor.shape[1], bias.shape[0]
    text = f"a 5-D weight with a bias of {channels}"
    if channels == first == second:
        return Candidate(
            entry.path, tensor, "unknown", None, f"{text}, which fits Conv3d and ConvTranspose3d"
        )
    if channels == first:
        return Candidate(entry.path, tensor, "Conv3d", None, f"{text}, its first extent")
    groups = channels // second if second and channels % second == 0 else 0
    if groups and first % groups == 0:
        times = f" times {groups} groups" if groups > 1 else ""
        return Candidate(
            entry.path, tensor, "ConvTranspose3d", groups, f"{text}, its second extent{times}"
        )
    return None


def _declared(entry: Entry, tensor: torch.Tensor, known: Declaration) -> Candidate:
    """Take a program's word, as far as it makes sense; a file may say anything."""
    said = known.hyperparameters
    is_believed = (
        said is not None
        and _triple(said.stride, at_least=1) is not None
        and _triple(said.padding, at_least=0) is not None
        and _triple(said.dilation, at_least=1) is not None
    )
    return Candidate(
        entry.path,
        tensor,
        known.kind,
        known.groups if _are_groups(known.groups, tensor) else None,
        known.evidence,
        hyperparameters=said if is_believed else None,
        is_guessed=False,
    )


def _are_groups(groups: object, tensor: torch.Tensor) -> bool:
    return isinstance(groups, int) and groups > 0 and tensor.shape[0] % groups == 0


def _judge_by_module(entry: Entry, tensor: torch.Tensor, owner: nn.Module) -> Candidate | None:
    known = declaration_of(owner, tensor, "the module itself")
    if known is None:
        return None
    return Candidate(
        entry.path,
        tensor,
        known.kind,
        known.groups,
        known.evidence,
        hyperparameters=known.hyperparameters,
        is_guessed=False,
    )


def declaration_of(owner: object, weight: torch.Tensor, evidence: str) -> Declaration | None:
    """Take a module's word for its weight; a pickled one may say anything, so nonsense is nothing.

    Args:
        owner: The module.
        weight: The tensor that may be its weight.
        evidence: Where the module was found, in words.
    """
    is_convolution = isinstance(owner, nn.Conv3d | nn.ConvTranspose3d)
    if not is_convolution or getattr(owner, "weight", None) is not weight:
        return None
    groups = getattr(owner, "groups", None)
    return Declaration(
        "Conv3d" if isinstance(owner, nn.Conv3d) else "ConvTranspose3d",
        evidence,
        groups if _are_groups(groups, weight) else None,
        _hyperparameters(owner, weight.shape[2:]),
    )


def _hyperparameters(owner: object, kernel: Sequence[int]) -> Hyperparameters | None:
    said = {name: getattr(owner, name, None) for name in ("stride", "padding", "dilation")}
    stride, dilation = _triple(said["stride"], at_least=1), _triple(said["dilation"], at_least=1)
    if stride is None or dilation is None:
        return None
    if said["padding"] == "same":
        reach = zip(dilation, kernel, strict=True)
        padding: tuple[int, ...] | None = tuple(step * (n - 1) // 2 for step, n in reach)
    else:
        padding = _triple((0, 0, 0) if said["padding"] == "valid" else said["padding"], at_least=0)
    return None if padding is None else Hyperparameters(stride, padding, dilation)


def _triple(value: object, *, at_least: int) -> tuple[int, ...] | None:
    """Return three numbers of a size that a real layer has; None for anything else."""
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    is_number = all(isinstance(part, int) and at_least <= part <= _LARGEST for part in value)
    return value if is_number else None


def _ends(key: str, ending: str) -> bool:
    """Say whether a dotted key ends in these whole parts."""
    return key == ending or key.endswith(f".{ending}")

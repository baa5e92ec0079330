"""The digests of one opened checkpoint, computed by two threads, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from threading import local
from typing import TypeAlias

import torch

from convlast.checkpoints.checkpoint import WHY_LEFT_OUT, Checkpoint
from convlast.checkpoints.safetensors import name_of
from convlast.checkpoints.tree import Entry, dotted
from convlast.digests.listing import NO_DATA, TensorDigest
from convlast.digests.row_major import RowMajor, bytes_of, planned_bytes
from convlast.errors import LimitExceededError, UnsupportedContainerError
from convlast.layout.memory_format import place_of, span_of
from convlast.options import Limits
from convlast.progress import Portions, Progress, silent
from convlast.report.listing import listed

THREADS = 2
"""Each has a tensor of its own. More would wait for the same file."""

_OTHER_DTYPES = {torch.complex32: "C32", torch.complex128: "C128"}
"""Names for dtypes that safetensors lacks; all others have PyTorch's, in capitals."""

_FLOAT4 = getattr(torch, "float4_e2m1fn_x2", None)
"""Two values in a byte, if this PyTorch has it. safetensors counts the values: its last extent is
twice PyTorch's."""

_MOST_SHARED = 256
"""How many tensors may share each byte, on average: the time must grow with the file's size."""

_MOST_NAMED = 20
"""The most tensors that a refusal names."""

_REMEDY = "Digest the file itself (sha256sum)."

_Key: TypeAlias = tuple[object, ...]


def tensor_digests(
    checkpoint: Checkpoint,
    entries: Sequence[Entry],
    limits: Limits,
    progress: Progress = silent,
) -> list[TensorDigest]:
    """Return the digest of each tensor, in the order of the entries.

    Args:
        checkpoint: The checkpoint.
        entries: Its tensors, by `walk`. If they were given other strides meanwhile, their
            `original` says where the bytes are.
        limits: The limits to enforce.
        progress: Called as `progress("digest", done, total)`, in bytes.

    Raises:
        LimitExceededError: If tensors overlap so often that there is no end of their bytes.
        UnsupportedContainerError: If a tensor has no values to digest: it is quantized, negated
            with a dtype that PyTorch cannot negate, or not read; or if two that differ have one
            name.
        MalformedCheckpointError: If the file is damaged.
    """
    _refuse_left_out(checkpoint.left_out)
    tensors = [_tensor_of(entry) for entry in entries]
    keys = [_key_of(tensor) for tensor in tensors]
    distinct = _by_storage({k: t for k, t in zip(keys, tensors, strict=True) if not t.is_meta})
    _refuse_overlaps(distinct.values(), limits)
    portions = Portions(progress, "digest", sum(tensor.nbytes for tensor in distinct.values()))
    found: dict[_Key, str] = {}
    for key, digest in zip(distinct, _digests(checkpoint, distinct.values()), strict=True):
        found[key] = digest
        portions.add(distinct[key].nbytes)
    digests = [
        TensorDigest(
            digest=found.get(key, NO_DATA),
            dtype=dtype_name(tensor.dtype),
            shape=_shape_of(tensor),
            name=dotted(entry.path),
        )
        for entry, tensor, key in zip(entries, tensors, keys, strict=True)
    ]
    refuse_twins(digests, "by different keys")
    return digests


def dtype_name(dtype: torch.dtype) -> str:
    """Return what a list calls a dtype.

    >>> dtype_name(torch.bfloat16), dtype_name(torch.complex128), dtype_name(torch.uint4)
    ('BF16', 'C128', 'UINT4')
    """
    if dtype is _FLOAT4:
        return "F4"
    own = str(dtype).removeprefix("torch.").upper()
    return name_of(dtype) or _OTHER_DTYPES.get(dtype, own)


def _shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the extents that safetensors states."""
    shape = tuple(tensor.shape)
    return (*shape[:-1], 2 * shape[-1]) if tensor.dtype is _FLOAT4 and shape else shape


def refuse_twins(digests: Iterable[TensorDigest], how: str) -> None:
    """Refuse different tensors of one name, such as `{"a.b": …}` and `{"a": {"b": …}}`.

    If they changed places, the list would be the same.

    Args:
        digests: The tensors.
        how: How two of them may come to have one name, in words.

    Raises:
        UnsupportedContainerError: If there are some.
    """
    lines: dict[str, str] = {}
    for each in digests:
        if lines.setdefault(each.label, each.line) != each.line:
            raise UnsupportedContainerError(
                f"Two tensors that differ are both named {each.label}, {how}.",
                remedy="Rename one of them; or digest the file itself (sha256sum).",
            )


def _refuse_left_out(names: Collection[str]) -> None:
    """Refuse a program with tensors that are not read: the list would say nothing of them.

    Raises:
        UnsupportedContainerError: If there are some.
    """
    if names:
        raise UnsupportedContainerError(
            "The program has tensors without a digest: "
            f"{listed(sorted(names), at_most=_MOST_NAMED)}. {WHY_LEFT_OUT}",
            remedy=_REMEDY,
        )


def _digests(checkpoint: Checkpoint, tensors: Iterable[torch.Tensor]) -> Iterator[str]:
    """Yield the digest of each tensor."""
    own = local()

    def digest(tensor: torch.Tensor) -> str:
        if not hasattr(own, "rows"):
            own.rows = RowMajor(checkpoint)
        found = sha256()
        for piece in own.rows.pieces(tensor):
            found.update(piece)
        return found.hexdigest()

    checkpoint.descriptor  # noqa: B018  # opened here, so that two threads do not open it twice
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(digest, tensors)


def _tensor_of(entry: Entry) -> torch.Tensor:
    """Return a tensor as the file has it; for a bare storage that of its bytes.

    Raises:
        UnsupportedContainerError: If it is quantized, or negated and cannot be.
    """
    value = entry.value
    if isinstance(value, torch.UntypedStorage):
        return bytes_of(value)
    tensor = torch.Tensor.detach(value) if entry.original is None else entry.original
    if tensor.is_quantized:
        raise UnsupportedContainerError(
            f"Tensor {dotted(entry.path)} is quantized: its values are not its bytes alone.",
            remedy=_REMEDY,
        )
    if tensor.is_neg() and not _has_negatives(tensor.dtype):
        raise UnsupportedContainerError(
            f"Tensor {dotted(entry.path)} is negated, and PyTorch negates no values of its dtype.",
            remedy=_REMEDY,
        )
    return tensor


def _has_negatives(dtype: torch.dtype) -> bool:
    """Say whether PyTorch can compute the negatives of values; a file can ask for any."""
    try:
        torch.empty(1, dtype=dtype).neg()
    except (NotImplementedError, RuntimeError):
        return False
    return True


def _key_of(tensor: torch.Tensor) -> _Key:
    """Return what tensors of the same bytes have in common: aliases, and other shapes of them."""
    seen = tensor.is_conj(), tensor.is_neg()
    if tensor.is_contiguous() and not any(seen):
        return (id(tensor.untyped_storage()), *span_of(tensor))
    return (*place_of(tensor), *seen)


def _by_storage(tensors: dict[_Key, torch.Tensor]) -> dict[_Key, torch.Tensor]:
    """Put those of one storage beside each other: a program's members are inflated whole."""
    first: dict[int, int] = {}
    for tensor in tensors.values():
        first.setdefault(id(tensor.untyped_storage()), len(first))
    return dict(sorted(tensors.items(), key=lambda item: first[id(item[1].untyped_storage())]))


def _refuse_overlaps(tensors: Iterable[torch.Tensor], limits: Limits) -> None:
    """Refuse tensors that share bytes so often that reading them has no end.

    Raises:
        LimitExceededError: If they do.
    """
    storages: dict[int, int] = {}
    read = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[id(storage)] = storage.nbytes()
        read += max(planned_bytes(tensor), tensor.nbytes) if tensor.numel() else 0
    found = read - _MOST_SHARED * sum(storages.values())
    if found > limits.max_expanded_bytes:
        raise LimitExceededError(
            f"Its tensors overlap: together they are more than {_MOST_SHARED} times what is stored",
            limit="max_expanded_bytes",
            allowed=limits.max_expanded_bytes,
            found=found,
        )

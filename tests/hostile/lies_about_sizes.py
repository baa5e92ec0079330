"""A pickle, a storage and a tensor that contradict each other, and tensors of odd kinds."""

from __future__ import annotations

import io

import torch

from tests import builders
from tests.hostile.parts import (
    FLOATS,
    sound_legacy,
    state_dict,
    storage,
    tensor,
    text,
    torch_zip,
)


def storage_larger_than_its_member() -> bytes:
    """Return a storage of more elements than its member has bytes."""
    return torch_zip(state_dict(conv__weight=tensor(of=storage(numel=1 << 40))))


def storage_of_negative_size() -> bytes:
    """Return a storage of -1 elements."""
    return torch_zip(state_dict(conv__weight=tensor(of=storage(numel=-1))))


def storage_that_is_not_there() -> bytes:
    """Return a storage with a key that no member has."""
    return torch_zip(state_dict(conv__weight=tensor(of=storage(key="7"))))


def storage_with_a_path_for_a_key() -> bytes:
    """Return a storage whose key leads out of the archive."""
    return torch_zip(state_dict(conv__weight=tensor(of=storage(key="../../../etc/passwd"))))


def tensor_past_its_storage() -> bytes:
    """Return a tensor that begins in its storage and ends behind it."""
    return torch_zip(state_dict(conv__weight=tensor(offset=1)))


def tensor_of_negative_stride() -> bytes:
    """Return a tensor that runs backwards."""
    return torch_zip(state_dict(conv__weight=tensor(stride=(81, 27, 9, 3, -1), offset=9)))


def tensor_whose_numel_overflows() -> bytes:
    """Return a tensor whose number of elements does not fit 64 bits."""
    return torch_zip(state_dict(conv__weight=tensor(), x=tensor((1 << 40, 1 << 40), (0, 0))))


def one_storage_of_two_dtypes() -> bytes:
    """Return two tensors on one storage, which call its elements by different names."""
    ints = tensor((FLOATS,), (1,), of=storage(kind="IntStorage"))
    return torch_zip(state_dict(conv__weight=tensor(), ints=ints))


def persistent_id(identity: bytes) -> bytes:
    """Return a pickle that refers to a storage in another way than torch."""
    return torch_zip(b"\x80\x02" + identity + b"Q.")


def persistent_id_in_text() -> bytes:
    """Return a pickle that refers to a storage by the opcode of protocol 0."""
    return torch_zip(b"\x80\x02Pstorage\n.")


def sparse_with_false_indices() -> bytes:
    """Return a sparse tensor with an index outside its shape."""
    # PyTorch 2.11 warns where one call alone is told not to look at the indices.
    unchecked = torch.sparse.check_sparse_tensor_invariants(enable=False)  # type: ignore[no-untyped-call]  # PyTorch's own
    with unchecked:
        indices, values = torch.tensor([[7]]), torch.ones(1)
        sparse = torch.sparse_coo_tensor(indices, values, (3,), is_coalesced=True)
    buffer = io.BytesIO()
    torch.save({"conv.weight": torch.ones(1, 2, 1, 1, 1), "sparse": sparse}, buffer)
    return buffer.getvalue()


def quantized() -> bytes:
    """Return a tensor of eight bits with a scale, which torch cannot write without its data."""
    buffer = io.BytesIO()
    root = {"conv.weight": torch.ones(1, 2, 1, 1, 1), "q": builders.quantized(2)}
    torch.save(root, buffer)
    return buffer.getvalue()


def legacy_with_views() -> bytes:
    """Return a legacy file whose storage is a view of another, as PyTorch 0.3 wrote them."""
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2)}, buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    no_view, view = b"Ntq", b"(" + text("view") + b"K\x00K\x01ttq"
    assert data.count(no_view) == 1
    return data.replace(no_view, view)


def legacy_with_a_number_for_a_key() -> bytes:
    """Return a legacy file whose list of storages has a number behind the name of the only one."""
    data = sound_legacy()
    start = data.rindex(b"]q\x00X")
    end = data.index(b"a.", start)
    return data[:end] + b"aK\x51" + data[end:]

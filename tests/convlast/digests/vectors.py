"""The tensors of the test vectors in docs/reference/tensor-digests.md."""

from __future__ import annotations

import torch

from tests import builders

COUNT = torch.arange(6, dtype=torch.float32)

VECTORS = {
    "rows": COUNT.reshape(2, 3),
    "columns": COUNT.clone().reshape(3, 2).t(),
    "channels_last": builders.numbered(1, 2, 1, 1, 2, dtype=torch.uint8).contiguous(
        memory_format=torch.channels_last_3d
    ),
    "every_other": COUNT.clone()[::2],
    "repeated": torch.tensor([5], dtype=torch.int16).expand(3),
    "scalar": torch.tensor(7),
    "empty": torch.empty(0, 3, dtype=torch.float16),
    "bfloat16": torch.tensor([1.0, -0.0], dtype=torch.bfloat16),
    "float8": torch.tensor([1.0, 0.5]).to(torch.float8_e4m3fn),
    "bool": torch.tensor([True, False]),
    "complex": torch.tensor([1 + 2j], dtype=torch.complex64),
    "conjugated": torch.tensor([1 + 2j], dtype=torch.complex64).conj(),
    "complex128": torch.tensor([1j], dtype=torch.complex128),
    "meta": torch.empty(2, device="meta"),
    'a "name": é\n': torch.tensor([255], dtype=torch.uint8),
}

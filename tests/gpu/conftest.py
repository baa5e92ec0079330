"""What the tests on a GPU share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Leave this process 2 GiB of the device's memory."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(2**31 / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)

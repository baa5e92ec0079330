"""What a job imports when it first uses it, imported once, in the fork server.

PyTorch imports much of itself at the first `torch.export`, which each conversion with a smoke tries
on one weight: half a second, spent here for all workers that are forked.

Only imports can be done before a fork. What starts OpenMP's threads or a GPU would leave workers
without them, and `torch.export` itself starts CUDA where there is one, since it keeps the state of
its random numbers.

Source: `preserve_rng_state` of `torch._dynamo.utils` in torch 2.11 and 2.13.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

MODULES = (
    "torch.export._trace",  # and with it torch._dynamo, torch._functorch and networkx
    "torch.fx.experimental.validator",
    "torch._export.passes._node_metadata_hook",
    "torch._export.passes.replace_autocast_with_hop_pass",
    "torch._export.passes.replace_set_grad_with_hop_pass",
    "torch._inductor.compiler_bisector",
    "torch._inductor.fx_passes.dedupe_symint_uses",
    "torch._inductor.ir",
    "torch._inductor.sizevars",
    "torch._subclasses.schema_check_mode",
    "torch.utils.serialization.config",
    "numpy.ctypeslib",
    "safetensors.torch",
)
"""What a default conversion imports under torch 2.11 and 2.13; a test holds it."""


def preload() -> None:
    """Import them; where a version of PyTorch has not got one, jobs import what it has instead."""
    with gpus_hidden():
        for name in MODULES:
            with suppress(ImportError):
                importlib.import_module(name)


@contextmanager
def gpus_hidden() -> Iterator[None]:
    """Have PyTorch find no GPU meanwhile, since to look for one starts CUDA's driver.

    After that no process that is forked from this one could use a GPU. One of the modules looks
    when it is imported.

    Source: https://docs.pytorch.org/docs/stable/notes/multiprocessing.html#poison-fork-in-multiprocessing,
    `torch/_inductor/runtime/benchmarking.py` in torch 2.11.
    """
    is_available = torch.cuda.is_available
    torch.cuda.is_available = lambda: False
    try:
        yield
    finally:
        torch.cuda.is_available = is_available

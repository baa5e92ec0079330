"""Imports in the fork server the modules that jobs would otherwise import when they use them.

At the first `torch.export`, PyTorch imports many of its modules, which takes half a second. Each
conversion with a smoke exports one weight. The library imports the readers and writers of each kind
of file when it meets the first. The workers are forked with these imports done.

Only imports are safe before a fork: OpenMP's threads and CUDA's state do not survive it. Calling
`torch.export` is not, since it starts CUDA if there is a GPU, to preserve the state of its random
numbers.

Source: `preserve_rng_state` of `torch._dynamo.utils` in torch 2.11 and 2.13.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from convlast import checkpoints, containers, writing

MODULES = (
    "torch.export._trace",  # imports torch._dynamo, torch._functorch and networkx too
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
"""The imports of a default conversion under torch 2.11 and 2.13; a test checks this list."""


def preload() -> None:
    """Import the modules that this version of PyTorch has, and those for each kind of file."""
    with gpus_hidden():
        for name in MODULES:
            with suppress(ImportError):
                importlib.import_module(name)
    for package in (checkpoints, containers, writing):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


@contextmanager
def gpus_hidden() -> Iterator[None]:
    """Make PyTorch find no GPU meanwhile, since looking for one starts CUDA's driver.

    After that, no process that is forked from this one could use a GPU. One of the modules looks
    for a GPU when it is imported.

    Source: https://docs.pytorch.org/docs/stable/notes/multiprocessing.html#poison-fork-in-multiprocessing,
    `torch/_inductor/runtime/benchmarking.py` in torch 2.11.
    """
    is_available = torch.cuda.is_available
    torch.cuda.is_available = lambda: False
    try:
        yield
    finally:
        torch.cuda.is_available = is_available

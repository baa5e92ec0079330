"""Removes keys, tokens, addresses and all other unneeded variables from the environment."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping
from pathlib import Path

from service.sandbox.wall import Wall

_NAMES = frozenset(
    {
        *("PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES"),
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE"),
    }
)
# Prefixes of variables that configure the libraries in use.
_FAMILIES = (
    *("LC_", "PYTHON", "MALLOC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_"),
    *("ATEN_", "TORCH_", "PYTORCH_", "CUDA_", "CUDNN_", "CUBLAS_"),
)
_SECRETS = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|URL|URI|PROXY")

# Fields of /proc/self/stat, counted from the process's state. Source: proc_pid_stat(5).
_ENV_START, _ENV_END = 50 - 3, 51 - 3


def scrub_environment(set_to: Mapping[str, str] | None = None) -> Wall:
    """Keep only variables that configure Python, torch and CUDA, and erase the rest from memory.

    The service process calls this too, so that its fork server never has the others.

    Args:
        set_to: Variables to set, with their values.
    """
    environment = os.environ  # noqa: TID251  # it is emptied here, not read as settings
    kept = {name: value for name, value in environment.items() if is_harmless(name)}
    environment.clear()
    try:
        # /proc/self/environ shows the kernel's copy on the stack, which libc's does not change.
        start, end = _first_copy()
        ctypes.memset(start, 0, end - start)
    except (OSError, ValueError, IndexError):
        return Wall.missing("environment", "The first copy of the environment stays in memory")
    finally:
        environment.update({**kept, **(set_to or {})})
    return Wall(name="environment", held=True, detail="Only harmless variables are left.")


def is_harmless(name: str) -> bool:
    """Return whether a variable may stay.

    >>> [is_harmless(each) for each in ("OMP_NUM_THREADS", "AWS_PROFILE", "CUDA_API_KEY")]
    [True, False, False]
    """
    is_known = name in _NAMES or name.startswith(_FAMILIES)
    return is_known and _SECRETS.search(name) is None


def _first_copy() -> tuple[int, int]:
    """Return the start and end address of the kernel's copy of the environment."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(after_name[_ENV_START]), int(after_name[_ENV_END])
    if not 0 < start <= end:
        raise ValueError("The kernel hides the address of the environment.")
    return start, end

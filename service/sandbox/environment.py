"""The environment of a process, cut down to what is harmless: no key, token or address stays."""

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
# Whole families that steer the libraries below.
_FAMILIES = (
    *("LC_", "PYTHON", "MALLOC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_"),
    *("ATEN_", "TORCH_", "PYTORCH_", "CUDA_", "CUDNN_", "CUBLAS_"),
)
_SECRETS = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|URL|URI|PROXY")

# Fields of /proc/self/stat, counted from the process's state. Source: proc_pid_stat(5).
_ENV_START, _ENV_END = 50 - 3, 51 - 3


def scrub_environment(set_to: Mapping[str, str] | None = None) -> Wall:
    """Keep only variables that steer Python, torch and CUDA, and overwrite the rest in memory.

    For the process that starts the fork server as well, so that what it starts never has them.

    Args:
        set_to: Variables that get this value.
    """
    environment = os.environ  # noqa: TID251  # it is emptied here, not read as settings
    kept = {name: value for name, value in environment.items() if is_harmless(name)}
    environment.clear()
    try:
        # The kernel's copy on the stack is what /proc/self/environ shows, whatever libc holds.
        start, end = _first_copy()
        ctypes.memset(start, 0, end - start)
    except (OSError, ValueError, IndexError):
        return Wall.missing("environment", "The first copy of the environment stays in memory")
    finally:
        environment.update({**kept, **(set_to or {})})
    return Wall(name="environment", held=True, detail="Only harmless variables are left.")


def is_harmless(name: str) -> bool:
    """Tell whether a variable may stay.

    >>> [is_harmless(each) for each in ("OMP_NUM_THREADS", "AWS_PROFILE", "CUDA_API_KEY")]
    [True, False, False]
    """
    is_known = name in _NAMES or name.startswith(_FAMILIES)
    return is_known and _SECRETS.search(name) is None


def _first_copy() -> tuple[int, int]:
    """Give the addresses between which the kernel has laid the environment."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(after_name[_ENV_START]), int(after_name[_ENV_END])
    if not 0 < start <= end:
        raise ValueError("The kernel hides where the environment lies.")
    return start, end

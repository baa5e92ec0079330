"""The files outside its folder that a worker can open: libraries, system facts, and the GPU."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_LIBRARIES = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/local/cuda",
    "/usr/local/nvidia",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/usr/share/nvidia",
)
_FACTS = (
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/version",
    "/proc/devices",
    "/proc/filesystems",
    "/proc/modules",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/driver/nvidia",
    "/proc/driver/nvidia-uvm",
    "/proc/driver/nvidia-nvlink",
    "/proc/driver/nvidia-caps",
    "/sys/bus/pci",
    "/sys/devices",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
    "/sys/module",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    # NVML fails if it may not check for this daemon.
    # Source: https://github.com/NVIDIA/OpenShell/pull/710
    "/run/nvidia-persistenced",
)
_PROC = Path("/proc")
_SITE_FOLDERS = {"site-packages", "dist-packages"}

# CUDA names its threads while it starts, and fails with error 304 if it may not.
# Source: https://github.com/nolabs-ai/nono/pull/673, https://github.com/NVIDIA/OpenShell/pull/710
# NOTE: /proc/self includes the entries of its network namespace, so a worker can list the network
# connections of the machine or container; Landlock rules cannot exclude a part of a folder.
THREADS = Path("/proc/self/task")


def readable() -> set[Path]:
    """Return the files and folders that may be read; some are absent on most machines.

    They are the same for all workers that are forked from one process.
    """
    found = {Path(each) for each in (*_LIBRARIES, *_FACTS)} | set(_python()) | set(_packages())
    return {path for path in found if not path.is_relative_to(_PROC)}


def readable_of_process() -> list[Path]:
    """Return the entries of `/proc` that may be read: some are a process's own."""
    return [Path(each) for each in _FACTS if each.startswith("/proc/")]


def devices() -> set[Path]:
    """Return the devices that may be read and written; some may be absent.

    The driver makes some when a GPU is first used, so each worker looks for them itself.
    """
    return {Path("/dev/null"), Path("/dev/dxg"), *Path("/dev").glob("nvidia*")}


def _python() -> Iterator[Path]:
    """Yield the folders of Python's own modules and of the installed ones."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    if libraries := sysconfig.get_config_var("LIBDIR"):
        yield Path(libraries)
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":"):  # noqa: TID251  # the linker's
        if folder:
            yield Path(folder)
    yield from (Path(each) for each in sys.path if Path(each).name in _SITE_FOLDERS)


def _packages() -> Iterator[Path]:
    """Yield the folders of the loaded packages, wherever they are installed.

    A package in a checkout is readable without the rest of the checkout.
    """
    for name, module in list(sys.modules.items()):
        if "." not in name:
            yield from (Path(each) for each in getattr(module, "__path__", ()))

"""What of the machine a worker has to reach: libraries, a few facts, and the GPU. Nothing else."""

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
    # NVML fails where it may not look whether the daemon is there.
    # Source: https://github.com/NVIDIA/OpenShell/pull/710
    "/run/nvidia-persistenced",
)
_SITE_FOLDERS = {"site-packages", "dist-packages"}

# CUDA names its threads while it starts, and fails with error 304 where it may not.
# Source: https://github.com/nolabs-ai/nono/pull/673, https://github.com/NVIDIA/OpenShell/pull/710
# NOTE: With a process's own entries come those of its network namespace, so a worker can list the
# connections of the machine, or of the container; rules cannot take a part back out.
THREADS = Path("/proc/self/task")


def readable() -> set[Path]:
    """Name the files and folders that are read; some are absent on most machines."""
    return {Path(each) for each in (*_LIBRARIES, *_FACTS)} | set(_python()) | set(_packages())


def devices() -> set[Path]:
    """Name the devices that are opened for reading and writing, of those that are there."""
    return {Path("/dev/null"), Path("/dev/dxg"), *Path("/dev").glob("nvidia*")}


def _python() -> Iterator[Path]:
    """Give where Python's own modules and the installed ones lie."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    if libraries := sysconfig.get_config_var("LIBDIR"):
        yield Path(libraries)
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":"):  # noqa: TID251  # the linker's
        if folder:
            yield Path(folder)
    yield from (Path(each) for each in sys.path if Path(each).name in _SITE_FOLDERS)


def _packages() -> Iterator[Path]:
    """Give the folders of the packages that are loaded, wherever they were installed from.

    A package that lies in a checkout is readable without the checkout around it.
    """
    for name, module in list(sys.modules.items()):
        if "." not in name:
            yield from (Path(each) for each in getattr(module, "__path__", ()))

"""The threads that PyTorch computes with on a CPU, and how they wait for each other.

GNU's OpenMP, which PyTorch brings, lets a thread that waits spin for a while. Beside anything else
that keeps a core busy, it spins where another thread has work to do: a smoke of 0.8 s took 7 to
10 s. Threads that sleep meanwhile cost nothing that could be measured on a quiet machine.

Source: https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html
"""

from __future__ import annotations

from collections.abc import MutableMapping

WAIT_POLICY = "OMP_WAIT_POLICY"


def wait_asleep(environment: MutableMapping[str, str]) -> None:
    """Have threads sleep while they wait, unless the environment says how they are to wait.

    OpenMP reads that once, when it is loaded: before torch is imported, or in a process that is
    started afterwards. It is the process's own choice: the library leaves it to its caller.

    >>> environment = {"PATH": "/usr/bin"}
    >>> wait_asleep(environment)
    >>> environment
    {'PATH': '/usr/bin', 'OMP_WAIT_POLICY': 'PASSIVE'}
    """
    environment.setdefault(WAIT_POLICY, "PASSIVE")

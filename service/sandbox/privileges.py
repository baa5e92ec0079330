"""Drops the privileges of a process, even if the service runs as root."""

from __future__ import annotations

import ctypes
import platform

from service.sandbox.kernel import call, is_alone, prctl
from service.sandbox.wall import Wall

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522


def drop_privileges() -> Wall:
    """Give up every capability, and the ways to get one back.

    Without CAP_SYS_ADMIN, Landlock and seccomp require "no new privileges".
    Capabilities belong to a thread: call this while there is only one.
    """
    try:
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        number = _CAPSET[platform.machine()]
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        none = (ctypes.c_uint32 * 6)()
        call(number, ctypes.addressof(header), ctypes.addressof(none))
    except KeyError:
        return Wall.missing("privileges", f"capset has no known number on {platform.machine()}")
    except OSError as error:
        return Wall.missing("privileges", "Capabilities cannot be dropped", error)
    if not is_alone():
        return Wall.missing(
            "privileges", "Threads were started before, and keep their capabilities"
        )
    return Wall(name="privileges", held=True, detail="No capability, and none can be gained.")


def hide_memory() -> Wall:
    """Keep this process's memory out of core dumps, and hidden from other processes of the user.

    A limit of zero on core files does not stop a kernel that pipes dumps to a program.
    Source: core(5).
    """
    try:
        prctl(_PR_SET_DUMPABLE, 0)
    except OSError as error:
        return Wall.missing("dumps", "A crash may leave the memory in a core dump", error)
    return Wall(name="dumps", held=True, detail="No core dump, and no other process reads it.")

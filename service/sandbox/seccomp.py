"""seccomp: small programs that the kernel runs before each system call, built by hand.

A program is a list of instructions of classic BPF, eight bytes each. Jumps count the instructions
that they pass over, and only forward ones exist; so the blocks here end with an answer on each
path, and one block can stand behind another.

Source: seccomp(2), and linux/filter.h and linux/seccomp.h for the numbers.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from service.sandbox.kernel import call

Block: TypeAlias = list[bytes]

_LOAD, _IF_EQUAL, _IF_GREATER, _IF_ANY_BIT, _ANSWER = 0x20, 0x15, 0x25, 0x45, 0x06
# Where the kernel lays out what it is asked: number, architecture, address, six arguments.
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _TSYNC = 1, 1


def allow() -> Block:
    """Let the call through."""
    return [_instruction(_ANSWER, _ALLOW)]


def fail(error: int) -> Block:
    """Answer with this errno; 0 answers that it is done, and does nothing."""
    return [_instruction(_ANSWER, _ERRNO | error)]


def kill() -> Block:
    """End the process."""
    return [_instruction(_ANSWER, _KILL_PROCESS)]


def unless_architecture(architecture: int, block: Block) -> Block:
    """Go through the block where calls have other numbers: those of 32 bits, for one."""
    check = _instruction(_IF_EQUAL, architecture, if_true=len(block))
    return [_instruction(_LOAD, _ARCHITECTURE_AT), check, *block]


def load_number() -> Block:
    """Make the number of the call what the following blocks look at."""
    return [_instruction(_LOAD, _NUMBER_AT)]


def when(number: int, block: Block) -> Block:
    """Go through the block for the call with this number."""
    return [_instruction(_IF_EQUAL, number, if_false=len(block)), *block]


def when_above(number: int, block: Block) -> Block:
    """Go through the block for calls with a larger number."""
    return [_instruction(_IF_GREATER, number, if_false=len(block)), *block]


def where_argument(index: int, values: Iterable[int], block: Block, otherwise: Block) -> Block:
    """Go through the block if the lower half of an argument is one of these values."""
    checks = [each for value in values for each in when(value, block)]
    return [_load_argument(index), *checks, *otherwise]


def where_bit(index: int, bit: int, block: Block, otherwise: Block) -> Block:
    """Go through the block if an argument has this bit."""
    check = _instruction(_IF_ANY_BIT, bit, if_false=len(block))
    return [_load_argument(index), check, *block, *otherwise]


def install(machine: str, program: Sequence[bytes]) -> None:
    """Have the kernel run this program for every thread of this process, for good.

    Raises:
        OSError: If the kernel refuses, or a thread cannot be bound.
    """
    instructions = ctypes.create_string_buffer(b"".join(program))
    filter_ = ctypes.create_string_buffer(
        struct.pack("@HP", len(program), ctypes.addressof(instructions))
    )
    if thread := call(_SECCOMP[machine], _SET_MODE_FILTER, _TSYNC, ctypes.addressof(filter_)):
        raise OSError(f"Thread {thread} has a filter of its own")


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _load_argument(index: int) -> bytes:
    """Load the lower half; what is looked at here is 32 bits wide for the kernel as well."""
    return _instruction(_LOAD, _ARGUMENTS_AT + 8 * index)

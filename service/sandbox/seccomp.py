"""seccomp: builds small programs that the kernel runs before each system call.

A program is a list of classic BPF instructions, eight bytes each. Jumps only go forward, and count
the instructions that they skip. Here a block that runs ends with an answer, and a block that does
not is skipped, so blocks can be concatenated.

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
# Offsets in the kernel's `seccomp_data`: number, architecture, address, six arguments.
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _TSYNC = 1, 1


def allow() -> Block:
    """Let the call through."""
    return [_instruction(_ANSWER, _ALLOW)]


def fail(error: int) -> Block:
    """Fail with this errno; with 0 the call reports success and does nothing."""
    return [_instruction(_ANSWER, _ERRNO | error)]


def kill() -> Block:
    """Kill the process."""
    return [_instruction(_ANSWER, _KILL_PROCESS)]


def unless_architecture(architecture: int, block: Block) -> Block:
    """Run the block for calls of another architecture, such as 32-bit calls."""
    check = _instruction(_IF_EQUAL, architecture, if_true=len(block))
    return [_instruction(_LOAD, _ARCHITECTURE_AT), check, *block]


def load_number() -> Block:
    """Load the number of the call, which the following blocks compare."""
    return [_instruction(_LOAD, _NUMBER_AT)]


def when(number: int, block: Block) -> Block:
    """Run the block for the call with this number."""
    return [_instruction(_IF_EQUAL, number, if_false=len(block)), *block]


def when_above(number: int, block: Block) -> Block:
    """Run the block for calls with a larger number."""
    return [_instruction(_IF_GREATER, number, if_false=len(block)), *block]


def where_argument(index: int, values: Iterable[int], block: Block, otherwise: Block) -> Block:
    """Run the block if the lower half of an argument is one of these values."""
    checks = [each for value in values for each in when(value, block)]
    return [_load_argument(index), *checks, *otherwise]


def where_bit(index: int, bit: int, block: Block, otherwise: Block) -> Block:
    """Run the block if an argument has this bit."""
    check = _instruction(_IF_ANY_BIT, bit, if_false=len(block))
    return [_load_argument(index), check, *block, *otherwise]


def install(machine: str, program: Sequence[bytes]) -> None:
    """Make the kernel run this program for every thread of this process; this is permanent.

    Raises:
        OSError: If the kernel refuses, or cannot apply the program to a thread.
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
    """Load the lower half; the arguments that are checked here have 32 bits in the kernel too."""
    return _instruction(_LOAD, _ARGUMENTS_AT + 8 * index)

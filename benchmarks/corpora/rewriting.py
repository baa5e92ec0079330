"""A pickle, written anew in the opcodes of protocol 2.

torch's unpickler knows no others, so that an attack in a later protocol is refused for its protocol
alone. In this one the allow-list has to refuse it.
"""

from __future__ import annotations

import pickletools
import struct
from typing import Any

from tests.hostile import parts


def in_protocol_two(data: bytes) -> bytes | None:
    """Write a pickle in the opcodes that torch's unpickler knows; None where that cannot be."""
    rewriter = _Rewriter()
    try:
        operations = list(pickletools.genops(data))
        ends = [position or 0 for _, _, position in operations[1:]] + [len(data)]
        for (opcode, arg, start), end in zip(operations, ends, strict=True):
            rewriter.take(opcode.name, arg, data[start or 0 : end])
    except Exception:  # whatever a broken pickle makes pickletools raise
        return None
    return parts.PROTOCOL + b"".join(piece for piece, _ in rewriter.pieces)


class _Rewriter:
    """A pickle's opcodes, written anew one by one.

    Texts are remembered, since a name that protocol 4 takes from the stack, or from the memo,
    stands in the opcode itself here.
    """

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, str | None]] = []
        """Each with the text that it pushes, if it pushes one."""
        self._marks: list[int] = []
        self._memo: dict[int, str | None] = {}

    def take(self, name: str, arg: Any, raw: bytes) -> None:
        """Take one opcode."""
        if name in {"PROTO", "FRAME"}:
            return
        if isinstance(arg, str) and ("UNICODE" in name or "STRING" in name):
            self._push_text(arg)
        elif name == "MEMOIZE" or "PUT" in name:
            self._put(len(self._memo) if arg is None else int(arg))
        elif "GET" in name:
            self._get(int(arg))
        elif name in self._WITH_MARK:
            self._close(name, str(arg), raw)
        elif name == "MARK":
            self._marks.append(len(self.pieces))
            self._push(raw)
        else:
            self._push(self._converted(name, arg, raw))

    _WITH_MARK = frozenset({
        "TUPLE", "APPENDS", "SETITEMS", "ADDITEMS", "FROZENSET", "POP_MARK",
        "LIST", "DICT", "INST", "OBJ",
    })  # fmt: skip

    def _converted(self, name: str, arg: Any, raw: bytes) -> bytes:
        if name == "STACK_GLOBAL":
            member, module = self._pop_text(), self._pop_text()
            return f"c{module}\n{member}\n".encode()
        if isinstance(arg, bytes | bytearray):
            texts = parts.text(arg.decode("latin-1")) + parts.text("latin1")
            return b"c_codecs\nencode\n" + texts + b"\x86R"
        if isinstance(arg, bool):
            return b"\x88" if arg else b"\x89"
        if isinstance(arg, int) and ("INT" in name or "LONG" in name):
            return parts.number(arg)
        return b"G" + struct.pack(">d", arg) if isinstance(arg, float) else raw

    def _close(self, name: str, arg: str, raw: bytes) -> None:
        """Write an opcode that goes back to the last mark."""
        mark = self._marks.pop()
        if name == "INST":
            self.pieces.insert(mark, (b"c" + "\n".join(arg.split(" ", 1)).encode() + b"\n", None))
            raw = b"tR"
        elif name == "OBJ":
            self.pieces[mark : mark + 2] = self.pieces[mark + 1], self.pieces[mark]
            raw = b"tR"
        elif name in {"LIST", "DICT"}:
            self.pieces.insert(mark, (b"]" if name == "LIST" else b"}", None))
            raw = b"e" if name == "LIST" else b"u"
        self._push(raw)

    def _push(self, piece: bytes) -> None:
        self.pieces.append((piece, None))

    def _push_text(self, text: str) -> None:
        self.pieces.append((parts.text(text), text))

    def _put(self, index: int) -> None:
        self._memo[index] = self.pieces[-1][1]
        if self._memo[index] is None:
            self._push(b"r" + struct.pack("<I", index))

    def _get(self, index: int) -> None:
        text = self._memo[index]
        if text is None:
            self._push(b"j" + struct.pack("<I", index))
        else:
            self._push_text(text)

    def _pop_text(self) -> str:
        _, text = self.pieces.pop()
        if text is None:
            raise ValueError("a name that is no text")
        return text

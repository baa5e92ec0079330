"""A list of digests: a line for each tensor, and the root, which is the digest of the list.

It takes no torch to read one. docs/reference/tensor-digests.md defines both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field

from convlast.errors import OptionError

NO_DATA = "-"
"""The digest of a tensor on the meta device, which has no bytes."""


class TensorDigest(BaseModel):
    r"""A tensor by its bytes in row-major order, whatever its strides are.

    >>> TensorDigest(digest="-", dtype="F32", shape=(4, 8), name="a:b", file="vae/x.pt").line
    '- F32 [4,8] vae/x.pt:a\\u003ab'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    digest: Annotated[str, Field(pattern=r"^(?:[0-9a-f]{64}|-)$")]
    """The SHA-256 of its bytes, in hexadecimal; `-` if it has none, being on the meta device."""
    dtype: Annotated[str, Field(pattern=r"^[A-Z0-9_]+$")]
    """Its dtype, as safetensors calls it."""
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    """Its extents."""
    name: str
    """The keys that lead to it, with dots."""
    file: str | None = None
    """The file of a model folder that it is in, by its path there."""

    @property
    def label(self) -> str:
        """What the tensor is called in a list, in printable ASCII."""
        return (
            written(self.name)
            if self.file is None
            else f"{written(self.file)}:{written(self.name)}"
        )

    @property
    def line(self) -> str:
        """Its line in a list, without the line's end."""
        return f"{self.digest} {self.dtype} [{','.join(map(str, self.shape))}] {self.label}"

    @classmethod
    def parse(cls, line: str) -> TensorDigest:
        """Read a line.

        Raises:
            ValueError: If it is none.
        """
        digest, dtype, shape, label = line.split(" ", 3)
        *file, name = (json.loads(f'"{text}"') for text in label.split(":"))
        found = cls(
            digest=digest,
            dtype=dtype,
            shape=json.loads(shape),
            name=name,
            file=":".join(file) if file else None,
        )
        "".join([*file, name]).encode()  # refuses half a surrogate pair, which is no text
        if found.line != line:
            raise ValueError(line)
        return found


class Digests(BaseModel):
    """The tensors of a checkpoint, or of a model folder, in the order of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tensors: tuple[TensorDigest, ...]
    """Each tensor, in the order of the names."""
    not_opened: tuple[str, ...] = ()
    """The files of a model folder that look like checkpoints and were not opened."""

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @cached_property
    def root(self) -> str:
        """The SHA-256 of the list, in hexadecimal: one digest for all tensors."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def text(self) -> str:
        """The list: a line for each tensor."""
        return "".join(f"{tensor.line}\n" for tensor in self.tensors)

    @classmethod
    def of(cls, tensors: Iterable[TensorDigest], not_opened: Iterable[str] = ()) -> Digests:
        r"""Return the digests of these tensors, put in order.

        >>> a, b = (TensorDigest(digest="-", dtype="U8", shape=(), name=name) for name in "ab")
        >>> Digests.of([b, a]).text
        '- U8 [] a\n- U8 [] b\n'
        """
        ordered = sorted(tensors, key=lambda tensor: (tensor.label, tensor.line))
        return cls(tensors=tuple(ordered), not_opened=tuple(sorted(not_opened)))


def written(name: str) -> str:
    r"""Write a name in printable ASCII: as JSON does between quotes, and a colon as `\u003a`.

    >>> print(written("é\n"), written("encoder.0.weight"), written("a:b"))
    \u00e9\n encoder.0.weight a\u003ab
    """
    return json.dumps(name)[1:-1].replace(":", "\\u003a")


def read_list(path: Path) -> Digests:
    """Read a list from a file; its lines may be in any order.

    Raises:
        OptionError: If it is no list.
        OSError: If it cannot be read.
    """
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            found.append(TensorDigest.parse(line.decode("ascii")))
        except (ValueError, ValidationError, RecursionError):
            raise OptionError(
                "check",
                f"Line {number:,} of {path.name!r} is none of a list of digests.",
                remedy="Name a file that `convlast digest` has printed.",
            ) from None
    return Digests.of(found)

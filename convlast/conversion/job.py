"""What a conversion is given: a source, and the settings under which it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from convlast.bytes.digest import sha256_of
from convlast.errors import OptionError
from convlast.options import Limits
from convlast.progress import Portions, Progress, silent

PathLike: TypeAlias = str | os.PathLike[str]

_LIMITS = Limits()


@dataclass(frozen=True)
class Source:
    """A checkpoint or model folder, and what is known of it.

    Attributes:
        path: Where it is.
        name: The name it is known by.
        known_sha256: The digest of its bytes, if the caller has computed it.
        loaded_as: The path by which the artifact is loaded, if it is not the artifact's name. For a
            folder that was packed it is the folder that its artifact will be unpacked to.
        is_packed: Whether it is a folder that was packed into a tar on its way here.
    """

    path: Path
    name: str
    known_sha256: str | None = None
    loaded_as: str | None = None
    is_packed: bool = False

    @classmethod
    def of(cls, given: PathLike | Source) -> Source:
        """Return a source for a path, under its own name."""
        if isinstance(given, Source):
            return given
        # A link keeps its name, and `.` and `..` get one.
        return cls(Path(given), Path(os.path.abspath(given)).name)  # noqa: PTH100

    def sha256(self, progress: Progress = silent) -> str:
        """Return the digest of its bytes; if it is not known, read them, in the stage digest."""
        if self.known_sha256:
            return self.known_sha256
        portions = Portions(progress, "digest", self.path.stat().st_size)
        return sha256_of(self.path, portions.add)


@dataclass(frozen=True)
class JobSettings:
    """The settings of a job.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        limits: What the file may cost.
        allow_programs: Whether files that hold code may be opened.
        architecture_prefixes: The modules that an architecture may come from; None for the
            default ones.
        progress: Called as `progress(stage, done, total)`.
        overwrite: Whether a folder that an earlier conversion made may be replaced. A file is
            always replaced, as torch.save does.
        grown: Called with the artifact of one file, which is hidden still, and how many of its
            bytes are final, from the first one on. Nothing is proven of them yet.
    """

    device: str = "auto"
    limits: Limits = _LIMITS
    allow_programs: bool = False
    architecture_prefixes: Sequence[str] | None = None
    progress: Progress = silent
    overwrite: bool = False
    grown: Callable[[Path, int], object] | None = None

    def __post_init__(self) -> None:
        """Refuse values that look right and are not.

        Raises:
            OptionError: If the limits are a dict, or the prefixes one text.
        """
        Limits.require(self.limits, "limits")
        if isinstance(self.architecture_prefixes, str):
            raise OptionError(
                "architecture_prefixes",
                "architecture_prefixes is one text, where a list of texts is wanted.",
                remedy=f"Write [{self.architecture_prefixes!r}].",
            )

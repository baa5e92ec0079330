"""The files of a model folder that are passed on as they are, and why."""

from __future__ import annotations

from pathlib import PurePosixPath

from convlast.containers.other_files import (
    APPLE_DOUBLE,
    DVC_NOTE,
    MERGE_DISTRIBUTED,
    PICKLE,
    UNTELLING,
    OtherFile,
)
from convlast.errors import (
    CheckpointError,
    NoConv3dWeightsError,
    NotACheckpointError,
    ProgramNotAllowedError,
    UnsupportedContainerError,
)
from convlast.folders.folder import Folder
from convlast.folders.member_names import shown
from convlast.report import Finding
from convlast.report.codes import finding

PART = ".distcp"
"""The end of the names of the files in a distributed checkpoint.

Such a file may hold one tensor as torch.save writes it, so its bytes do not tell. A file beside it
has the offset of each tensor.

Source: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/distributed/checkpoint/filesystem.py
"""

_NAMED_LIKE_CHECKPOINTS = {".safetensors", ".pt", ".pth", ".ckpt"}

_MAX_SHOWN = 600
"""The most characters of an error in a finding."""


class PassedOn:
    """What is known of the files that stay as they are."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._closed: list[str] = []
        self._others: dict[str, OtherFile] = {}
        self._unreadable: dict[str, CheckpointError] = {}
        self._findings: dict[str, list[Finding]] = {}

    def note_other(self, name: str, kind: OtherFile) -> None:
        """Note a file that is no checkpoint."""
        if kind == DVC_NOTE and self._has(name.removesuffix(".dvc")):
            return
        self._others[name] = kind
        found = _finding_of(name, kind)
        if found is not None:
            self._note(name, found)

    def note_stored(self, name: str, reason: str) -> None:
        """Note a checkpoint in a store, whose name is a digest of its bytes."""
        self._others[name] = OtherFile(
            f"a checkpoint that has to stay as it is, because {reason}",
            "store",
            "Name the folder in which the model's files have names of their own, or convert "
            "the one file.",
        )
        text = f"{name} was not opened, and is as it was: {reason}."
        self._note(name, finding("store-not-opened", text))

    def note_closed(self, name: str, container: str) -> None:
        """Note a file that holds code which was not allowed."""
        self._closed.append(name)
        text = (
            f"{name} is a {container} archive, which holds code. It was not opened, and is as it "
            "was. Allow programs (--allow-programs, or CONVLAST_ALLOW_PROGRAMS=true), from senders "
            "you trust, to have it converted."
        )
        self._note(name, finding("program-not-opened", text))

    def note_unreadable(self, name: str, error: CheckpointError) -> None:
        """Note a checkpoint that cannot be opened."""
        # The traceback holds the open checkpoint.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        text = f"{error.message} {error.remedy}".strip()
        text = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
        text = f"{name} cannot be opened, and is as it was. {text}"
        self._note(name, finding("checkpoint-not-opened", text))
        if "file" not in error.details:
            error.locate(name)
        self._unreadable[name] = error

    def note_unconvertible(self, name: str, findings: list[Finding]) -> None:
        """Note a checkpoint without convolution weights, and what was found in it."""
        text = f"{name} holds no Conv3d weight."
        self._note(name, finding("no-conv3d-weights", text), *findings)

    def of_file(self, name: str) -> list[Finding]:
        """Return the findings about a file."""
        return self._findings.get(name, [])

    def of_folder(self) -> list[Finding]:
        """Return the findings about what is not even passed on."""
        return [
            finding(
                "left-out",
                f"{name} is not in the artifact, because {reason}.",
            )
            for name, reason in self._folder.left_out.items()
        ]

    def refuse(self, checkpoints: int) -> None:
        """Refuse a folder in which nothing can be converted.

        Args:
            checkpoints: How many checkpoints were recognised.

        Raises:
            ProgramNotAllowedError: If it has programs, which might contain layers.
            CheckpointError: If a checkpoint cannot be opened, its own error.
            NotACheckpointError: If it has no checkpoint.
            NoConv3dWeightsError: In all other cases.
        """
        if self._closed:
            raise ProgramNotAllowedError(
                f"{shown(self._closed[0])} holds code, and nothing else in the folder could be "
                "converted.",
                remedy="Allow programs, from senders you trust: --allow-programs, or "
                "CONVLAST_ALLOW_PROGRAMS=true.",
            )
        if self._unreadable:
            error = self._unreadable[max(self._unreadable, key=self._likelihood)]
            error.add("Nothing else in the folder can be converted.")
            raise error
        words, remedy = self._telling(4 if checkpoints else 6)
        if not checkpoints:
            raise NotACheckpointError(
                f"There is no checkpoint among its {len(self._folder.members)} files{words}.",
                remedy=remedy
                or "Send what torch.save or safetensors wrote, alone or with what belongs to it.",
            )
        raise NoConv3dWeightsError(
            f"None of the {checkpoints} checkpoints in the folder holds a Conv3d or "
            f"ConvTranspose3d weight{words}.",
            remedy=remedy or "There is nothing to convert; keep the folder.",
        )

    def _has(self, name: str) -> bool:
        return name in self._folder.members or name in self._folder.bare

    def _likelihood(self, name: str) -> tuple[bool, int]:
        """Return a key by which the file that is most likely the model is the largest."""
        return name.endswith(PART), self._folder.members[name].nbytes

    def _telling(self, ranks: int) -> tuple[str, str]:
        """Return words about the file that best says why there is no layer, and its remedy.

        Args:
            ranks: How many ranks of files are considered, of those in `_rank`.
        """
        ranked: dict[int, list[str]] = {}
        for name, kind in self._others.items():
            ranked.setdefault(_rank(name, kind), []).append(name)
        for rank in sorted(ranked):
            if rank >= ranks:
                break
            first = max(ranked[rank], key=lambda name: self._folder.members[name].nbytes)
            more = len(ranked[rank]) - 1
            too = f" ({more} more like it)" if more else ""
            return f": {shown(first)} is {self._others[first].words}{too}", self._others[
                first
            ].remedy
        for name, reason in self._folder.left_out.items():
            return f": {shown(name)} was left out, because {reason}", "Fetch the file itself."
        return "", ""

    def _note(self, name: str, *found: Finding) -> None:
        self._findings.setdefault(name, []).extend(found)


def part_of_distributed() -> UnsupportedContainerError:
    """Return the error for a file of a distributed checkpoint."""
    return UnsupportedContainerError(
        "This is a part of a distributed checkpoint (torch.distributed.checkpoint): the file "
        ".metadata says at which of its bytes each tensor begins.",
        remedy=MERGE_DISTRIBUTED,
    )


def _finding_of(name: str, kind: OtherFile) -> Finding | None:
    """Return a finding about a file that is no checkpoint; None if nobody would expect one."""
    if kind.kind == "pointer":
        text = f"{name} is {kind.words}, and is as it was. {kind.remedy}"
        return finding("file-not-fetched", text)
    if kind.kind == "archive" or (kind.kind == "compressed" and _is_named_like(_stem(name))):
        text = f"{name} is {kind.words}. It was not opened, and is as it was. {kind.remedy}"
        return finding("archive-not-opened", text)
    if kind == PICKLE:
        text = (
            f"{name} is a pickle, though none of torch.save's. It was not opened, and is as it "
            "was; loading it can run code."
        )
        return finding("pickle-not-opened", text)
    if _is_named_like(name) and kind != APPLE_DOUBLE:
        text = f"{name} is named like a checkpoint, but is {kind.words}. It is as it was."
        return finding("not-a-checkpoint", text)
    return None


def _rank(name: str, kind: OtherFile) -> int:
    """Return how much a file says about a folder without layers: 0 is most."""
    ranks = {"pointer": 0, "archive": 1, "compressed": 2, "store": 3}
    # A compressed file without an extension is a part of something else, such as an array of Orbax.
    is_part = kind.kind == "compressed" and not PurePosixPath(name).suffix
    if is_part:
        return 6
    if kind.kind in ranks:
        return ranks[kind.kind]
    if _is_named_like(name) and kind != APPLE_DOUBLE:
        return 4
    return 6 if kind in UNTELLING else 5


def _is_named_like(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _NAMED_LIKE_CHECKPOINTS


def _stem(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)

"""Every stage that begins also ends, whatever is done and to what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

import convlast
from convlast.options import Options
from convlast.progress import IN_BYTES, Progress, Stages, TimedStage
from tests import builders
from tests.convlast.folders import building

QUIET = Options(smoke="none")


class Heard:
    """Notes what is told, and which stages have begun and not ended."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.open: set[str] = set()
        self.totals: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take one call."""
        assert 0 <= done <= total
        if stage == "files":  # between two files none of theirs is open
            assert self.open <= {"files"}
        if stage not in self.stages:
            assert done < total, f"{stage} does not begin"
            self.stages.append(stage)
        self.totals[stage] = total
        (self.open.add if done < total else self.open.discard)(stage)


def a_file(folder: Path) -> Path:
    """Write a checkpoint of several kinds of layers."""
    return builders.save(builders.a_model().state_dict(), folder / "model.pt")


def a_folder(folder: Path) -> Path:
    """Write a model folder."""
    return building.model_folder(folder / "model")


def a_torn_folder(folder: Path) -> Path:
    """Write a model folder with a file that cannot be opened, which is passed on."""
    place = a_folder(folder)
    (place / "bad.pt").write_bytes(b"PK\3\4")
    return place


def a_packed_folder(folder: Path) -> Path:
    """Write a compressed archive of a model folder."""
    return building.packed_tar_gz(a_folder(folder))


def a_program(folder: Path) -> Path:
    """Write an exported program."""
    return builders.save_exported_program(folder / "m.pt2")


def converted(source: Path, options: Options, progress: Progress) -> None:
    """Convert."""
    target = source.parent / "out"
    convlast.convert(source, target, options, allow_programs=True, progress=progress)


def copied(source: Path, options: Options, progress: Progress) -> None:
    """Convert what was converted, so that it is copied."""
    convlast.convert(source, source.parent / "once.pt", QUIET)
    convlast.convert(source.parent / "once.pt", source.parent / "out", options, progress=progress)


def inspected(source: Path, _: Options, progress: Progress) -> None:
    """Inspect."""
    convlast.inspect(source, progress=progress)


def verified(source: Path, _: Options, progress: Progress) -> None:
    """Convert without a word, and verify."""
    convlast.convert(source, source.parent / "out", QUIET)
    convlast.verify(source, source.parent / "out", progress=progress)


WRITTEN = ["read", "write", "prove"]


@pytest.mark.parametrize(
    ("make", "work", "options", "stages"),
    [
        (a_file, converted, Options(), [*WRITTEN, "smoke", "survival"]),
        (a_file, converted, Options(smoke="model", architecture="torch.nn.Identity"), None),
        (a_file, converted, QUIET, WRITTEN),
        (a_file, converted, Options(smoke="none", dtype="float16"), WRITTEN),
        (a_file, converted, Options(smoke="none", container="safetensors"), WRITTEN),
        (a_file, copied, QUIET, WRITTEN),
        (a_program, converted, QUIET, WRITTEN),
        (a_folder, converted, QUIET, ["files", *WRITTEN]),
        (a_torn_folder, converted, Options(), ["files", *WRITTEN, "smoke", "survival"]),
        (a_packed_folder, converted, QUIET, ["files", *WRITTEN]),
        (a_file, inspected, QUIET, ["digest"]),
        (a_folder, inspected, QUIET, ["files"]),
        (a_packed_folder, inspected, QUIET, ["files"]),
        (a_file, verified, QUIET, ["compare", "digest"]),
        (a_folder, verified, QUIET, ["files"]),
    ],
)
def test_every_stage_that_begins_also_ends(
    make: Callable[[Path], Path],
    work: Callable[..., None],
    options: Options,
    stages: list[str] | None,
    tmp_path: Path,
) -> None:
    """Each stage begins below its total and ends at it; one that fails with the work need not."""
    heard = Heard()
    if stages is None:
        with pytest.raises(convlast.ConvlastError):
            work(make(tmp_path), options, heard)
        assert heard.stages == [*WRITTEN, "smoke"]
        assert heard.open == {"smoke"}
        return
    work(make(tmp_path), options, heard)
    assert heard.stages == stages
    assert not heard.open
    assert all(total > 100 for stage, total in heard.totals.items() if stage in IN_BYTES)


def test_a_stage_is_ended_once() -> None:
    """`Stages` begins a stage once, and ends what has begun and not ended."""
    told: list[tuple[Any, ...]] = []
    stages = Stages(lambda *call: told.append(call))
    stages.begin("read")
    stages.begin("read")
    stages("write", 2, 5)
    stages("prove", 3, 3)
    stages.end("read", "smoke")
    stages.end()
    stages.end()
    assert told[:3] == [("read", 0, 1), ("write", 2, 5), ("prove", 3, 3)]
    assert told[3:] == [("read", 1, 1), ("write", 5, 5)]


def test_stages_of_a_conversion_count_bytes_or_steps() -> None:
    """Of the stages whose time is measured only the writing counts bytes."""
    assert IN_BYTES & set(get_args(TimedStage)) == {"write"}

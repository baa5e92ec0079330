"""What `benchmarks/fuzz/growth.py` has found: each took the square of its length, or so."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import convlast
from convlast.checkpoints.guard import pickles
from convlast.errors import ConvlastError, MalformedCheckpointError
from convlast.options import Options
from tests.growth import quick
from tests.hostile import hands_over_again, nests_objects, packs_a_folder
from tests.hostile.multiplies_extents import script
from tests.hostile.parts import PROTOCOL, STOP, called, number, storage, text

QUIET = Options(smoke="none")


def inspected(data: bytes, path: Path) -> convlast.Report:
    """Inspect a file."""
    path.write_bytes(data)
    return convlast.inspect(path, QUIET, allow_programs=True)


def test_extents_of_megabytes_are_not_multiplied() -> None:
    """They are refused by their size: the product of two takes far longer than to read them."""
    digits = 4 << 20
    large = b"\x8b" + struct.pack("<i", digits) + b"\x7f" * digits + b"\x85"
    geometry = storage() + number(0) + large + large + b"\x89N"
    pickled = PROTOCOL + called("torch._utils._rebuild_tensor_v2", geometry) + STOP
    with quick("two extents of 4 MiB"), pytest.raises(MalformedCheckpointError, match="PyTorch"):
        pickles.scan(io.BytesIO(pickled))


def test_modules_that_share_their_state_are_walked_through_once(tmp_path: Path) -> None:
    """A dict that thousands of modules have for their parameters, and that holds none."""
    data = hands_over_again.modules_of_one_state()
    with quick("modules of one state"):
        assert inspected(data, tmp_path / "model.pt").layers


@pytest.mark.parametrize("each", [b"h\x02)\x81h\x01b", b"h\x03h\x01R"], ids=["states", "arguments"])
def test_a_program_may_share_what_it_holds(each: bytes, tmp_path: Path) -> None:
    """Objects of one state, and calls with the same arguments, are walked through once."""
    kept = b"(" + b"K\x01" * 20_000 + b"tq\x01c__torch__\nA\nq\x02ctorch\ndevice\nq\x03"
    made = b"]((" + kept + b"t" + each * 10_000 + b"e"
    pickled = PROTOCOL + b"c__torch__\nNet\n)\x81}" + text("a") + made + b"sb" + STOP
    with quick("a program that shares"):
        inspected(script(pickled), tmp_path / "model.pt")


def test_a_long_list_that_contains_itself_is_gone_through_once(tmp_path: Path) -> None:
    """And not as deep as objects may be nested."""
    data = nests_objects.itself_in_a_list(beside=200_000)
    with quick("a list in itself"), pytest.raises(MalformedCheckpointError, match="themselves"):
        inspected(data, tmp_path / "model.pt")


def test_an_object_that_is_its_own_state_is_refused(tmp_path: Path) -> None:
    """It has no end."""
    pickled = PROTOCOL + b"c__torch__\nNet\n)\x81q\x00h\x00b" + STOP
    with pytest.raises(MalformedCheckpointError, match="contain themselves"):
        inspected(script(pickled), tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (packs_a_folder.tar_with_a_long_number, "a number of any length"),
        (packs_a_folder.tar_of_records_for_all, "very many records"),
    ],
)
def test_a_tar_that_describes_itself_at_length_is_refused(
    build: Callable[[], bytes], what: str, tmp_path: Path
) -> None:
    """The library that reads it would take the square of that."""
    with quick(what), pytest.raises(MalformedCheckpointError, match=what):
        inspected(build(), tmp_path / "model.tar")


def test_a_tar_of_a_commit_is_read(tmp_path: Path) -> None:
    """Git writes one record for all its members."""
    record = b"52 comment=" + b"0" * 40 + b"\n"
    head = packs_a_folder.entry("pax_global_header", tarfile.XGLTYPE, size=len(record)).tobuf()
    data = head + record.ljust(512, b"\0") + packs_a_folder.tarred()
    assert inspected(data, tmp_path / "model.tar").layers


@pytest.mark.parametrize("opcode", [b"F", b"S", b"V\\u"])
def test_what_is_wrong_with_a_pickle_is_said_briefly(opcode: bytes) -> None:
    """However long that is which is wrong."""
    with pytest.raises(MalformedCheckpointError) as refusal:
        pickles.scan(io.BytesIO(PROTOCOL + opcode + b"x" * 100_000 + b"\n" + STOP))
    assert len(str(refusal.value)) < 300


def test_a_shard_whose_name_is_too_long_for_a_file_is_not_there(tmp_path: Path) -> None:
    """The index is refused, as for any shard that is missing."""
    with pytest.raises(ConvlastError, match="is beside it"):
        inspected(
            f'{{"weight_map":{{"conv.weight":"{"x" * 5000}"}}}}'.encode(), tmp_path / "index.json"
        )

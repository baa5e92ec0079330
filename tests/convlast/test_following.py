from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convlast
from convlast import comparison
from convlast.checkpoints import mapping
from convlast.errors import MalformedCheckpointError, VerificationError
from convlast.following import Followed, Match, Part, follow
from convlast.memory_format import strides_of
from convlast.options import Options
from convlast.permutation import Restriding, permuted
from tests import builders
from tests.convlast.test_proof import forgetting, swapping

QUIET = Options(smoke="none")
SHAPE = (32, 16, 3, 3, 3)
"""55,296 bytes in fp32, of which a slice is 1,728."""

WEIGHT = Restriding(
    SHAPE, strides_of(SHAPE, "contiguous_format"), strides_of(SHAPE, "channels_last_3d"), 4
)


def followed(folder: Path, made: bytes, parts: list[Part], source: bytes = b"") -> Followed:
    """Follow a file that is there already."""
    path, origin = folder / "made", folder / "source"
    path.write_bytes(made)
    origin.write_bytes(source)
    with origin.open("rb") as file:
        return follow(path, parts, file.fileno())


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_parts_do_not_change_the_digests(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    """The whole file counts, however it is cut, and each part has the CRC that is claimed."""
    whole = b"".join(contents)
    parts = [Part(len(content), zlib.crc32(content), "member") for content in contents]
    for cut in ([*parts, Part(None)], [Part(None)]):
        found = followed(tmp_path_factory.mktemp("following"), whole, cut)
        assert (found.sha256, found.crc32) == (hashlib.sha256(whole).hexdigest(), zlib.crc32(whole))
        assert not found.matches


def test_a_wrong_claim_is_refused_by_name(tmp_path: Path) -> None:
    """The part is named as it was called in the input."""
    parts = [Part(100), Part(1 << 19, 1, "data/7"), Part(None)]
    with pytest.raises(MalformedCheckpointError, match="'data/7' is damaged"):
        followed(tmp_path, bytes(1 << 20), parts)


def test_a_file_that_ends_before_a_claimed_part_is_refused(tmp_path: Path) -> None:
    """What is not there has no CRC."""
    with pytest.raises(MalformedCheckpointError, match="damaged"):
        followed(tmp_path, b"ab", [Part(3, zlib.crc32(b"abc"), "data/0")])


def test_what_is_the_same_in_both_files_is_named(tmp_path: Path) -> None:
    """Bytes in the same order, and elements in another one."""
    weight = torch.randn(SHAPE)
    before = bytes(weight.view(-1).view(torch.uint8).tolist())
    after = permuted(weight, WEIGHT.after, torch.device("cpu"))
    table = bytes(range(256)) * 2048  # several pieces
    parts = [
        Part(7),
        Part(len(table), origin=3),
        Part(len(after), origin=3 + len(table), restriding=WEIGHT),
        Part(None),
    ]
    found = followed(tmp_path, bytes(7) + table + after + b"end", parts, b"abc" + table + before)
    assert found.matches == {
        Match(3, 7, len(table)),
        Match(3 + len(table), 7 + len(table), len(after), WEIGHT),
    }


@given(st.integers(0, WEIGHT.nbytes - 1), st.booleans())
def test_one_other_bit_is_no_match(
    tmp_path_factory: pytest.TempPathFactory, position: int, is_moved: bool
) -> None:
    """Wherever it is; the digest is that of what is there."""
    weight = torch.arange(WEIGHT.nbytes // 4, dtype=torch.int32).view(SHAPE)
    before = bytes(weight.view(-1).view(torch.uint8).tolist())
    made = bytearray(permuted(weight, WEIGHT.after, torch.device("cpu")) if is_moved else before)
    made[position] ^= 1
    part = Part(len(made), origin=0, restriding=WEIGHT if is_moved else None)
    found = followed(tmp_path_factory.mktemp("following"), bytes(made), [part], before)
    assert not found.matches
    assert found.sha256 == hashlib.sha256(made).hexdigest()


def test_a_part_that_is_cut_short_is_no_match(tmp_path: Path) -> None:
    """Though all of it that is there is the same."""
    assert not followed(tmp_path, b"abc", [Part(5, origin=0)], b"abcde").matches


def test_a_source_that_ends_before_is_refused(tmp_path: Path) -> None:
    """It was longer when it was opened."""
    with pytest.raises(MalformedCheckpointError, match="ends at byte 3"):
        followed(tmp_path, b"abcde", [Part(5, origin=0)], b"abc")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Save a large weight, a small one, a large table, and a view of it."""
    table = torch.randn(100_000)
    tensors = {
        "large.weight": torch.randn(64, 32, 3, 3, 3),
        "small.weight": torch.randn(4, 2, 3, 3, 3),
        "table": table,
        "view": table[10:20],
    }
    return builders.save(tensors, tmp_path / "model.pt")


def numbers_compared(patch: pytest.MonkeyPatch) -> list[int]:
    """Note the elements of each tensor that the proof reads again."""
    numbers: list[int] = []
    has_same_values = comparison._Pairs._has_same_values  # what is spared

    def noting(
        pairs: comparison._Pairs,
        before: torch.Tensor,
        after: torch.Tensor,
    ) -> bool:
        numbers.append(before.numel())
        return has_same_values(pairs, before, after)

    patch.setattr(comparison._Pairs, "_has_same_values", noting)
    return numbers


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc/self/maps here")
def test_large_tensors_are_not_read_again_for_the_proof(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were compared when the file was digested; small ones are compared alone."""
    numbers = numbers_compared(monkeypatch)
    report = convlast.convert(source, source.with_name("made.pt"), QUIET, device="cpu")
    assert report.proof is not None
    assert report.proof.values == "identical"
    assert numbers == [4 * 2 * 27]


def test_where_the_kernel_does_not_tell_all_is_compared(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a tensor lies in the file is not guessed."""
    monkeypatch.setattr(mapping, "_MAPS", source.with_name("absent"))
    numbers = numbers_compared(monkeypatch)
    convlast.convert(source, source.with_name("made.pt"), QUIET, device="cpu")
    assert sorted(numbers) == [10, 4 * 2 * 27, 64 * 32 * 27, 100_000]


@pytest.mark.parametrize("fault", [forgetting, swapping])
def test_a_large_weight_that_went_wrong_is_found(
    fault: object, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no match, and so it is compared once more, and named."""
    monkeypatch.setattr("convlast.writing.filling.permute_all", fault)
    with pytest.raises(VerificationError) as refusal:
        convlast.convert(source, source.with_name("made.pt"), QUIET, device="cpu")
    wrong = {found.layer for found in refusal.value.report.findings if found.severity == "error"}
    assert "large" in {str(layer).removesuffix(".weight") for layer in wrong}


def test_a_copy_that_went_wrong_is_found(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its CRC is that of the input no more."""

    def garbling(source_: int, target: int, origin: int, offset: int, nbytes: int) -> None:
        import os

        os.pwrite(target, bytes(nbytes), offset)

    monkeypatch.setattr("convlast.writing.filling.copy_range", garbling)
    with pytest.raises(MalformedCheckpointError, match="damaged"):
        convlast.convert(source, source.with_name("made.pt"), QUIET, device="cpu")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc/self/maps here")
def test_a_tensor_that_lies_elsewhere_in_the_file_is_compared(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A match is of two places, and no other place has it."""
    offset_of = mapping.Mapping.offset_of
    monkeypatch.setattr(
        mapping.Mapping, "offset_of", lambda self, address: offset_of(self, address) + 64
    )
    numbers = numbers_compared(monkeypatch)
    convlast.convert(source, source.with_name("made.pt"), QUIET, device="cpu")
    assert 100_000 in numbers

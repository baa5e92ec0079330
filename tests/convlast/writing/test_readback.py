from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import convlast
from convlast.containers import mapping
from convlast.errors import MalformedCheckpointError, VerificationError
from convlast.layout.memory_format import strides_of
from convlast.options import Options
from convlast.proving import comparison
from convlast.writing import permutation
from convlast.writing.permutation import Read, Restriding, permuted
from convlast.writing.readback import ReadBack
from tests import builders
from tests.convlast.proving.test_proof import forgetting, swapping

QUIET = Options(smoke="none")
SHAPE = (8, 4, 3, 3, 3)
WEIGHT = Restriding(
    SHAPE, strides_of(SHAPE, "contiguous_format"), strides_of(SHAPE, "channels_last_3d"), 4
)

needs_maps = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="no /proc/self/maps here"
)


@contextmanager
def read_back(folder: Path, source: bytes, target: bytes) -> Iterator[ReadBack]:
    """Open two files with these bytes."""
    paths = folder / "source", folder / "target"
    for path, content in zip(paths, (source, target), strict=True):
        path.write_bytes(content)
    with paths[0].open("rb") as origin, paths[1].open("rb") as made:
        yield ReadBack(origin.fileno(), made.fileno())


@given(st.binary(min_size=1, max_size=50), st.integers(0, 9), st.integers(0, 9), st.data())
def test_a_copy_is_told_from_what_differs_in_one_bit(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    origin: int,
    offset: int,
    data: st.DataObject,
) -> None:
    """Wherever it lies in both files."""
    folder = tmp_path_factory.mktemp("readback")
    made = bytearray(bytes(offset) + content)
    with read_back(folder, bytes(origin) + content, bytes(made)) as both:
        assert both.is_copy(origin, offset, len(content))
    made[offset + data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with read_back(folder, bytes(origin) + content, bytes(made)) as both:
        assert not both.is_copy(origin, offset, len(content))


@given(st.integers(0, WEIGHT.nbytes - 1))
def test_a_weight_is_told_from_what_differs_in_one_bit(
    tmp_path_factory: pytest.TempPathFactory, position: int
) -> None:
    """Element by element, in the one order and in the other."""
    weight = torch.randn(SHAPE)
    source = b"abc" + bytes(weight.view(-1).view(torch.uint8).tolist())
    made = bytearray(b"head" + permuted(weight, WEIGHT.after, torch.device("cpu")))
    folder = tmp_path_factory.mktemp("readback")
    with read_back(folder, source, bytes(made)) as both:
        assert both.is_restrided(WEIGHT, 3, 4)
    made[4 + position] ^= 1
    with read_back(folder, source, bytes(made)) as both:
        assert not both.is_restrided(WEIGHT, 3, 4)


@pytest.mark.parametrize(("source", "target"), [(b"abc", b"abcde"), (b"abcde", b"abc")])
def test_a_file_that_ends_before_is_refused(source: bytes, target: bytes, tmp_path: Path) -> None:
    """It was longer when it was opened, or when it was written."""
    with (
        read_back(tmp_path, source, target) as both,
        pytest.raises(MalformedCheckpointError, match="ends at byte 3"),
    ):
        both.is_copy(0, 0, 5)


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


@needs_maps
def test_large_tensors_are_not_read_again_for_the_proof(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were compared when they were written; small ones are compared alone."""
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


def exchanging(
    weights: Iterable[tuple[Restriding, Read]], device: torch.device
) -> Iterator[tuple[memoryview, memoryview]]:
    """Permute weights, and give them in another order."""
    made = [(bytearray(b), bytearray(a)) for b, a in permutation.permute_all(weights, device)]
    yield from ((memoryview(before), memoryview(after)) for before, after in reversed(made))


def garbling(source: int, target: int, origin: int, offset: int, nbytes: int) -> None:
    """Copy nothing but zeros."""
    os.pwrite(target, bytes(nbytes), offset)


def save_legacy(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Save in the format from before PyTorch 1.6, which states no CRCs."""
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def save_shared(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Save all tensors as parts of one storage."""
    flat = torch.cat([tensor.flatten() for tensor in tensors.values()])
    sizes = [tensor.numel() for tensor in tensors.values()]
    parts = zip(tensors.items(), torch.split(flat, sizes), strict=True)
    torch.save({name: part.view(tensor.shape) for (name, tensor), part in parts}, path)


SAVES: dict[str, Callable[[dict[str, torch.Tensor], Path], object]] = {
    "zip": torch.save, "legacy": save_legacy, "safetensors": save_file, "shared": save_shared,
}  # fmt: skip


@pytest.mark.parametrize("fault", [forgetting, swapping, exchanging])
@pytest.mark.parametrize("kind", SAVES)
def test_a_large_weight_that_went_wrong_is_found(
    kind: str, fault: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no match, and so it is compared once more; or its CRC is not the one stated."""
    source = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    # Of a size that is one slice, so that what is exchanged are whole weights.
    SAVES[kind]({f"{name}.weight": torch.randn(64, 16, 3, 3, 3) for name in "ab"}, source)
    monkeypatch.setattr("convlast.writing.filling.permute_all", fault)
    with pytest.raises((VerificationError, MalformedCheckpointError)):
        convlast.convert(source, tmp_path / "made.pt", QUIET, device="cpu")
    assert not (tmp_path / "made.pt").exists()


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_copy_that_went_wrong_is_found(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its CRC where the input states one, and else by what is read back."""
    source = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    SAVES[kind]({"w.weight": torch.randn(4, 2, 3, 3, 3), "table": torch.randn(100_000)}, source)
    monkeypatch.setattr("convlast.writing.filling.copy_range", garbling)
    expected = MalformedCheckpointError if kind == "zip" else VerificationError
    with pytest.raises(expected):
        convlast.convert(source, tmp_path / "made.pt", QUIET, device="cpu")


@needs_maps
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

"""Digests of the tensors of one file: the same for the same values, however they lie in it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor

import convlast
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.checkpoints.tree import walk
from convlast.containers import open_checkpoint
from convlast.digests.listing import Digests
from convlast.digests.of_file import THREADS, dtype_name, tensor_digests
from convlast.digests.row_major import planned_bytes
from convlast.errors import LimitExceededError, MalformedCheckpointError, UnsupportedContainerError
from convlast.layout.memory_format import laid_out
from convlast.options import Limits, Options
from tests import builders
from tests.convlast.test_laws import tensors_in
from tests.strategies import Drawn, checkpoints

a_law = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

jit: Any = torch.jit  # whose functions are not annotated
stock: Any = safetensors  # likewise

QUIET = Options(smoke="none")
UNDO = Options(smoke="none", memory_format="contiguous_format")


def values_of(tensor: Tensor) -> str:
    """Return the SHA-256 of the bytes that a plain copy in row-major order has."""
    plain = torch.empty(tensor.shape, dtype=tensor.dtype)
    plain.copy_(tensor.detach())
    return hashlib.sha256(ctypes.string_at(plain.data_ptr(), plain.nbytes)).hexdigest()


def lines_of(root: object, folder: Path) -> dict[str, tuple[str, str, tuple[int, ...]]]:
    """Save what is given, and return the digest, dtype and shape of each of its tensors."""
    found = convlast.digest(builders.save(root, folder / "model.pt"))
    return {each.name: (each.digest, each.dtype, each.shape) for each in found.tensors}


@a_law
@given(checkpoints())
def test_each_digest_is_that_of_a_row_major_copy(drawn: Drawn) -> None:
    """For any strides, offsets, dtypes, aliases and conjugations."""
    with tempfile.TemporaryDirectory() as folder:
        found = lines_of(drawn.root, Path(folder))
    expected = {}
    for path, value in tensors_in(drawn.root):
        name = ".".join(map(str, path))
        if isinstance(value, Tensor):
            expected[name] = (values_of(value), dtype_name(value.dtype), tuple(value.shape))
        else:
            storage = getattr(value, "_untyped_storage", value)
            digest = hashlib.sha256(bytes(storage.tolist())).hexdigest()
            expected[name] = (digest, "U8", (storage.nbytes(),))
    assert found == expected


@a_law
@given(checkpoints())
def test_a_conversion_and_its_undo_change_no_digest(drawn: Drawn) -> None:
    """The lists of the three files are the same, and the report has their root twice."""
    with tempfile.TemporaryDirectory() as folder:
        source, made, back = (Path(folder, name) for name in ("a.pt", "b.pt", "c.pt"))
        builders.save(drawn.root, source)
        report = convlast.convert(source, made, QUIET, tensor_digests=True)
        convlast.convert(made, back, UNDO)
        lists = [convlast.digest(path) for path in (source, made, back)]
    assert lists[0] == lists[1] == lists[2]
    assert report.input.tensors_sha256 == lists[0].root
    assert report.artifact is not None
    assert report.artifact.tensors_sha256 == lists[0].root


SAVED: dict[str, Callable[[dict[str, Tensor], Path], Path]] = {
    "torch": builders.save,
    "torch-legacy": builders.save_legacy,
    "safetensors": lambda tensors, path: builders.save_safetensors(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, path
    ),
}


@pytest.mark.parametrize("kind", SAVED)
def test_the_container_does_not_count(kind: str, tmp_path: Path) -> None:
    """A state dict has one root, in any kind of file, converted or not."""
    state_dict = builders.a_model().state_dict()
    source = SAVED[kind](state_dict, tmp_path / "model.file")
    report = convlast.convert(source, tmp_path / "made.pt", QUIET, tensor_digests=True)
    root = convlast.digest(builders.save(state_dict, tmp_path / "plain.pt")).root
    assert report.artifact is not None
    assert report.input.tensors_sha256 == report.artifact.tensors_sha256 == root
    assert convlast.digest(source).root == convlast.digest(tmp_path / "made.pt").root == root


def save_script(path: Path) -> Path:
    """Write a TorchScript archive of a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch likes TorchScript no longer
        jit.save(jit.script(builders.a_model()), path)
    return path


@pytest.mark.parametrize("save", [save_script, builders.save_exported_program])
def test_a_program_has_the_digests_of_its_tensors(
    save: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Before and after; none of it where programs are not allowed."""
    source, made = save(tmp_path / "program.pt2"), tmp_path / "made.pt2"
    report = convlast.convert(source, made, QUIET, allow_programs=True, tensor_digests=True)
    found = [convlast.digest(path, allow_programs=True) for path in (source, made)]
    assert found[0] == found[1]
    assert found[0].tensors
    assert report.input.tensors_sha256 == found[0].root
    with pytest.raises(convlast.ConvlastError, match="whole program"):
        convlast.digest(source)


def test_safetensors_stores_what_is_digested(tmp_path: Path) -> None:
    """Each digest is that of the slice that safetensors itself wrote, by its own names."""
    tensors = {
        f"{dtype}": torch.arange(24).to(dtype).reshape(1, 2, 3, 2, 2)
        for dtype in (torch.float32, torch.bfloat16, torch.float8_e5m2, torch.bool, torch.int64)
    }
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(tensors, path)
    stored = dict(stock.deserialize(path.read_bytes()))
    torch_file = {
        name: tensor.contiguous(memory_format=torch.channels_last_3d)
        for name, tensor in tensors.items()
    }
    assert lines_of(torch_file, tmp_path) == {
        name: (hashlib.sha256(entry["data"]).hexdigest(), entry["dtype"], tuple(entry["shape"]))
        for name, entry in stored.items()
    }


def large(*shape: int) -> Tensor:
    """Return a tensor of numbers that are not alike."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.int32).reshape(shape)


LARGE: dict[str, Tensor] = {
    "transposed": large(300, 9000).t(),
    "permuted": large(30, 40, 50, 9).permute(3, 1, 0, 2),
    "far apart": large(40, 20_000)[:, ::9000],
    "a column": large(300, 9000)[:, 5],
    "some of both": large(300, 9000)[::7, ::3],
    "overlapping": large(400_000).as_strided((10, 60_000), (5, 4)),
    "channels-last": laid_out(large(600, 8, 3, 3, 3), (216, 1, 72, 24, 8)),
    "one large row": laid_out(large(2, 700, 9, 9, 9), (510_300, 1, 56_700, 6_300, 700)),
    "repeated": large(1, 9000).expand(200, 9000),
    "negated": torch._neg_view(large(300, 900).t()),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("wide_bytes", [1 << 16, 16 << 20])
def test_large_tensors_are_put_in_order_in_parts(
    name: str, wide_bytes: int, tmp_path: Path
) -> None:
    """However the rows lie across each other, and however little is in memory at a time."""
    tensor = LARGE[name]
    with (
        mock.patch("convlast.digests.row_major._WIDE_BYTES", wide_bytes),
        mock.patch("convlast.digests.row_major.SLICE_BYTES", 1 << 16),
    ):
        found = lines_of({"x": tensor}, tmp_path)["x"]
    assert found == (values_of(tensor), "I32", tuple(tensor.shape))


def test_names_are_paths(tmp_path: Path) -> None:
    """Wrappers, lists and optimizers stand in them, as in the findings of a report."""
    found = lines_of(builders.with_optimizer() | builders.nested_wrappers(), tmp_path)
    assert {"models.0.net.conv.weight", "models.1.net.bias"} <= found.keys()
    assert any(name.startswith("optimizer.state.0.") for name in found)


def test_dtypes_without_a_name_in_safetensors() -> None:
    """Complex ones have a name of the same kind, all others PyTorch's."""
    uint4: torch.dtype = vars(torch)["uint4"]  # which torch does not annotate
    names = {torch.complex128: "C128", torch.complex32: "C32", uint4: "UINT4"}
    assert {dtype: dtype_name(dtype) for dtype in names} == names


def test_a_cast_changes_the_root_of_the_artifact_alone(tmp_path: Path) -> None:
    """With `dtype=float16` the report says that the tensors are others."""
    source = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    options = Options(smoke="none", dtype="float16", tensor_digests=True)
    report = convlast.convert(source, tmp_path / "made.pt", options)
    assert report.artifact is not None
    assert report.input.tensors_sha256 == convlast.digest(source).root
    assert report.artifact.tensors_sha256 == convlast.digest(tmp_path / "made.pt").root
    assert report.input.tensors_sha256 != report.artifact.tensors_sha256


def test_a_report_has_no_root_unless_it_is_asked_for(tmp_path: Path) -> None:
    """It costs a pass over both files."""
    source = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    report = convlast.convert(source, tmp_path / "made.pt", QUIET)
    assert report.artifact is not None
    assert report.input.tensors_sha256 is report.artifact.tensors_sha256 is None


def test_tensors_of_the_same_bytes_are_read_once(tmp_path: Path) -> None:
    """Thousands of names of one tensor, or of other shapes of it, cost one pass."""
    tensor = torch.arange(12.0)
    root: dict[str, Any] = {f"alias{n}": tensor for n in range(3000)}
    root |= {f"shape{n}": tensor.view(*shape) for n, shape in enumerate([(3, 4), (2, 6), (1, 12)])}
    root |= {f"turned{n}": tensor.view(3, 4).t() for n in range(3000)}
    with mock.patch(
        "convlast.digests.of_file.RowMajor.pieces", autospec=True, return_value=[b"x"]
    ) as pieces:
        found = lines_of(root, tmp_path)
    assert len(found) == 6003
    assert pieces.call_count == 2


def test_overlaps_without_end_are_refused(tmp_path: Path) -> None:
    """Views that begin at each element of a tensor have a square of bytes to digest."""
    flat = torch.zeros(5000)
    root = {str(n): flat[n:] for n in range(5000)}
    path = builders.save(root, tmp_path / "model.pt")
    with pytest.raises(LimitExceededError, match="overlap") as refusal:
        convlast.digest(path, limits=Limits(max_expanded_bytes=1 << 20))
    assert refusal.value.limit == "max_expanded_bytes"
    assert len(convlast.digest(path).tensors) == 5000


def test_a_quantized_tensor_is_refused(tmp_path: Path) -> None:
    """Its scale counts too, and is not in its bytes; also if the file states none."""
    path = builders.save({"x": builders.quantized(2)}, tmp_path / "model.pt")
    with pytest.raises(UnsupportedContainerError, match="holds a quantized tensor"):
        convlast.digest(path)
    builders.save({"x": torch.zeros(16, dtype=torch.uint8).view(torch.quint8)}, path)
    with pytest.raises(UnsupportedContainerError, match="Tensor x is quantized"):
        convlast.digest(path)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint16, torch.float8_e5m2])
def test_values_that_pytorch_cannot_negate_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    """A file can ask for the negatives of any dtype; a conversion without digests keeps them."""
    weight = torch._neg_view(torch.ones(4, 3, 2, 2, 2).to(dtype))
    path = builders.save({"x.weight": weight, "x.bias": torch.ones(4)}, tmp_path / "model.pt")
    with pytest.raises(UnsupportedContainerError, match=r"Tensor x\.weight is negated"):
        convlast.digest(path)
    with pytest.raises(UnsupportedContainerError, match=r"Tensor x\.weight is negated"):
        convlast.convert(path, tmp_path / "made.pt", QUIET, tensor_digests=True)
    assert convlast.convert(path, tmp_path / "made.pt", QUIET).verdict == "passed"


def test_different_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    """The list would not change if they changed places; equal ones do no harm."""
    zero, one = torch.zeros(2), torch.ones(2)
    path = builders.save({"a.b": zero, "a": {"b": one}}, tmp_path / "model.pt")
    with pytest.raises(UnsupportedContainerError, match=r"both named a\.b"):
        convlast.digest(path)
    builders.save({1: zero, "1": one}, path)
    with pytest.raises(UnsupportedContainerError, match="both named 1, by different keys"):
        convlast.digest(path)
    builders.save({"a.b": zero, "a": {"b": torch.zeros(2)}}, path)
    assert [each.name for each in convlast.digest(path).tensors] == ["a.b", "a.b"]


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this PyTorch has no float4")
def test_float4_is_named_and_shaped_as_safetensors_does(tmp_path: Path) -> None:
    """Two values in a byte: the last extent counts values."""
    dtype: torch.dtype = vars(torch)["float4_e2m1fn_x2"]
    tensor = torch.arange(8, dtype=torch.uint8).reshape(2, 4).view(dtype)
    written = safetensors.torch.save({"x": tensor})
    header = json.loads(written[8 : 8 + int.from_bytes(written[:8], "little")])
    digest = hashlib.sha256(bytes(range(8))).hexdigest()
    found = lines_of({"x": tensor}, tmp_path)["x"]
    assert found == (digest, header["x"]["dtype"], tuple(header["x"]["shape"]))
    assert found[1:] == ("F4", (2, 8))


def bytes_read(tensor: Tensor, path: Path) -> int:
    """Digest a tensor alone, and return how many bytes of the checkpoint were read for it."""
    read = Checkpoint.read_into
    counted: list[int] = []

    def counting(self: Checkpoint, buffer: memoryview, part: Tensor) -> None:
        counted.append(len(buffer))
        read(self, buffer, part)

    builders.save({"x": tensor}, path)
    with (
        mock.patch.object(Checkpoint, "read_into", counting),
        mock.patch("convlast.digests.row_major._WIDE_BYTES", 1 << 16),
        mock.patch("convlast.digests.row_major.SLICE_BYTES", 1 << 14),
    ):
        convlast.digest(path)
    return sum(counted)


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0), (2, 0, 1), (1, 2, 0)])
def test_rows_that_lie_across_are_read_once(axes: tuple[int, ...], tmp_path: Path) -> None:
    """The time grows with the size of the file, and not with its square."""
    tensor = torch.zeros(1200, 900, 2, dtype=torch.uint8).permute(axes)
    assert bytes_read(tensor, tmp_path / "model.pt") == tensor.nbytes


def test_overlapping_reads_are_counted_before_they_are_done(tmp_path: Path) -> None:
    """Rows that overlap, of elements that lie apart, take a read for each element."""
    flat = torch.zeros(5_000_000, dtype=torch.uint8)
    root = {str(n): flat.as_strided((60, 60), (40_000, 40_001), n) for n in range(20)}
    path = builders.save(root, tmp_path / "model.pt")
    assert planned_bytes(root["0"]) > 60 * 60 * 30_000
    with pytest.raises(LimitExceededError, match="overlap"):
        convlast.digest(path, limits=Limits(max_expanded_bytes=1 << 20))


class Views(torch.nn.Module):
    """A convolution, and many views of the same memory, with another tensor among them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv3d(1, 1, 1)
        whole = torch.arange(90.0)
        self.register_buffer("whole", whole)
        for n in range(9):
            self.register_buffer(f"other{n}", torch.full((3,), float(n)))
            self.register_buffer(f"view{n}", whole[10 * n :][:10])

    def forward(self, sample: Tensor) -> Tensor:
        """Run the convolution alone."""
        out: Tensor = self.conv(sample)
        return out


def test_a_member_of_a_program_is_inflated_once_for_its_tensors(tmp_path: Path) -> None:
    """By each thread at most, however many tensors share it."""
    path = tmp_path / "program.pt2"
    torch.export.save(torch.export.export(Views(), (torch.ones(1, 1, 2, 2, 2),)), path)
    member = ZippedProgram.member
    inflated: list[str] = []

    def counting(self: ZippedProgram, name: str) -> bytes:
        inflated.append(name)
        return member(self, name)

    checkpoint = open_checkpoint(path, limits=Limits(), allow_programs=True)
    with mock.patch.object(ZippedProgram, "member", counting):
        found = tensor_digests(checkpoint, walk(checkpoint.root, Limits()), Limits())
    digests = {each.name: each.digest for each in found}
    assert all(digests[name] == values_of(tensor) for name, tensor in Views().named_buffers())
    assert max(Counter(inflated).values()) <= THREADS


def test_a_file_that_shrinks_is_malformed(tmp_path: Path) -> None:
    """What is missing is an error, and not a digest of less."""
    path = builders.save_safetensors({"x": torch.zeros(1000)}, tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MalformedCheckpointError):
        convlast.digest(path)


def test_progress_ends_with_its_total(tmp_path: Path) -> None:
    """It counts the bytes that are digested, and each of them once."""
    tensor, told = torch.zeros(1000), []
    path = builders.save({"a": tensor, "b": tensor, "c": torch.ones(5)}, tmp_path / "model.pt")
    convlast.digest(path, progress=lambda *stage: told.append(stage))
    assert told == [("digest", 0, 4020), ("digest", 4000, 4020), ("digest", 4020, 4020)]


def test_limits_have_to_be_limits(tmp_path: Path) -> None:
    """As for every verb."""
    with pytest.raises(convlast.ConvlastError, match="limits"):
        convlast.digest(tmp_path, limits={"max_tensors": 1})  # type: ignore[arg-type]  # the point


def test_no_tensors_have_the_root_of_an_empty_list() -> None:
    """It is the SHA-256 of nothing."""
    assert Digests.of([]).root == hashlib.sha256(b"").hexdigest()

"""Digests of programs: every tensor counts, or the program is refused with its name."""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import convlast
from convlast.containers.reloading import tensors_of_script
from convlast.digests.of_file import dtype_name
from convlast.errors import UnsupportedContainerError
from convlast.options import Options
from tests.convlast.folders import building

jit: Any = torch.jit  # whose functions are not annotated

QUIET = Options(smoke="none")

EXPORTED = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.float32),
    *(torch.float64, torch.complex32, torch.complex64, torch.complex128, torch.float8_e4m3fn),
    *(torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
]
"""The dtypes that both kinds of program can hold."""

SCRIPTED = [
    *(torch.float4_e2m1fn_x2, torch.bits8, torch.bits2x4, torch.quint8, torch.quint4x2),
]
"""Dtypes that TorchScript alone can hold."""


def of_bytes(dtype: torch.dtype) -> Callable[[int], Tensor]:
    """Return what makes a tensor whose first byte is a number."""

    def make(first: int) -> Tensor:
        return torch.tensor([first, *[0] * 31], dtype=torch.uint8).view(dtype)

    return make


ODD: dict[str, Callable[[int], Tensor]] = {
    "sparse": lambda n: torch.zeros(3 + n, 3).to_sparse(),
    "compressed": lambda n: torch.zeros(2, 3 + n).to_sparse_csr(),
    "quantized": lambda n: torch.quantize_per_tensor(torch.zeros(3), 1.0 + n, 0, torch.qint8),
    "by channel": lambda n: torch.quantize_per_channel(
        torch.zeros(2, 3), torch.tensor([1.0, 1.0 + n]), torch.zeros(2), 0, torch.quint8
    ),
    "conjugated": lambda n: torch.full((2,), 1j).conj() if n else torch.full((2,), 1j),
    "negated": lambda n: torch._neg_view(torch.ones(2)) if n else torch.ones(2),
}
"""What makes tensors that are more than bytes; those of both numbers have the same bytes."""

MAKERS = {str(dtype): of_bytes(dtype) for dtype in [*EXPORTED, *SCRIPTED]} | ODD


class Holder(nn.Module):
    """A convolution, and buffers beside it."""

    def __init__(self, buffers: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 2, 3)
        nn.init.constant_(self.conv.weight, 0.5)
        nn.init.constant_(self.conv.bias, 0.5)  # type: ignore[arg-type]  # it has one
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)

    def forward(self, sample: Tensor) -> Tensor:
        """Run the convolution alone."""
        out: Tensor = self.conv(sample)
        return out


def save_script(model: nn.Module, path: Path) -> Path:
    """Write a TorchScript archive."""
    jit.save(jit.script(model), path)
    return path


def save_export(model: nn.Module, path: Path) -> Path:
    """Write an exported program."""
    torch.export.save(torch.export.export(model, (torch.ones(1, 2, 3, 3, 3),)), path)
    return path


SAVED = {"torchscript": save_script, "program": save_export}


def saved(kind: str, model: Callable[[], nn.Module], path: Path) -> Path:
    """Write a program; torch warns of TorchScript, and of many kinds of tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SAVED[kind](model(), path)


@pytest.mark.parametrize("kind", SAVED)
def test_every_dtype_is_digested_converted_and_proven(kind: str, tmp_path: Path) -> None:
    """The digest of each is that of its bytes, and a conversion keeps them all."""
    dtypes = EXPORTED if kind == "program" else [*EXPORTED, torch.float4_e2m1fn_x2]
    buffers = {f"b{n}": of_bytes(dtype) for n, dtype in enumerate(dtypes)}
    source = saved(
        kind, lambda: Holder({name: make(1) for name, make in buffers.items()}), tmp_path / "in.pt2"
    )
    made = tmp_path / "out.pt2"
    found = {each.name: each for each in convlast.digest(source, allow_programs=True).tensors}
    digest = hashlib.sha256(bytes([1, *[0] * 31])).hexdigest()
    for name, dtype in zip(buffers, dtypes, strict=True):
        assert (found[name].digest, found[name].dtype) == (digest, dtype_name(dtype))
    report = convlast.convert(source, made, QUIET, allow_programs=True, tensor_digests=True)
    assert report.artifact is not None
    assert report.proof is not None
    assert report.proof.tensors == len(found) == len(dtypes) + 2
    assert report.input.tensors_sha256 == report.artifact.tensors_sha256
    assert report.verdict == "passed"
    assert convlast.verify(source, made, allow_programs=True).verdict == "passed"


def outcome(path: Path) -> str:
    """Return the root of a program's digests, or why it is refused."""
    try:
        return convlast.digest(path, allow_programs=True).root
    except UnsupportedContainerError as error:
        return error.message


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_another_buffer_is_another_root_or_a_refusal(data: st.DataObject) -> None:
    """Whatever its dtype is, and if the bytes are the same; a refusal names a buffer."""
    kind = data.draw(st.sampled_from(sorted(SAVED)))
    known = [str(dtype) for dtype in EXPORTED] if kind == "program" else sorted(MAKERS)
    names = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
    changed = data.draw(st.integers(0, len(names) - 1))

    def model(other: int) -> nn.Module:
        numbers = (other if n == changed else 0 for n in range(len(names)))
        return Holder({f"b{n}": MAKERS[names[n]](number) for n, number in enumerate(numbers)})

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.pt2")
        outcomes = [outcome(saved(kind, partial(model, other), path)) for other in (0, 1)]
    assert outcomes[0] != outcomes[1] or re.search(r"without a digest: b\d", outcomes[0])


@pytest.mark.parametrize("name", [*ODD, "torch.quint8", "torch.bits2x4"])
def test_what_is_not_read_is_named_and_stays(name: str, tmp_path: Path) -> None:
    """Digests are refused with its name; a conversion without them says what it left out."""
    source = saved("torchscript", lambda: Holder({"b0": MAKERS[name](1)}), tmp_path / "in.pt")
    made = tmp_path / "out.pt"
    with pytest.raises(UnsupportedContainerError, match=r"without a digest: b0\."):
        convlast.digest(source, allow_programs=True)
    with pytest.raises(UnsupportedContainerError, match=r"without a digest: b0\."):
        convlast.convert(source, made, QUIET, allow_programs=True, tensor_digests=True)
    assert not made.exists()
    for report in (
        convlast.convert(source, made, QUIET, allow_programs=True),
        convlast.inspect(source, allow_programs=True),
    ):
        (found,) = (each for each in report.findings if each.code == "tensors-left-out")
        assert (report.verdict, found.severity) == ("passed", "info")
        assert "byte for byte: b0." in found.message
        assert [layer.name for layer in report.layers] == ["conv.weight"]
    assert convlast.verify(source, made, allow_programs=True).verdict == "passed"


def test_a_convolution_that_shares_bytes_with_what_is_not_read_stays(tmp_path: Path) -> None:
    """Its bytes cannot move, since nobody knows what the other makes of them."""

    class Two(Holder):
        def __init__(self) -> None:
            super().__init__({})
            self.other = nn.Conv3d(2, 2, 3)
            flat = self.other.weight.detach().view(-1)
            places = torch.arange(len(flat))[None]
            self.register_buffer("seen", torch.sparse_coo_tensor(places, flat, is_coalesced=True))

    source = saved("torchscript", Two, tmp_path / "in.pt")
    report = convlast.convert(source, tmp_path / "out.pt", QUIET, allow_programs=True)
    assert [layer.name for layer in report.layers] == ["conv.weight"]
    (found,) = (each for each in report.findings if each.code == "tensors-left-out")
    assert "other.weight, seen" in found.message
    before, after = map(tensors_of_script, (source, tmp_path / "out.pt"))
    assert torch.equal(before["seen"].to_dense(), after["seen"].to_dense())
    assert after["conv.weight"].is_contiguous(memory_format=torch.channels_last_3d)


def test_tensors_of_one_name_in_a_program_are_refused(tmp_path: Path) -> None:
    """Keys with dots can lead to one name; none of the tensors is left out in silence."""

    class Twins(Holder):
        def __init__(self) -> None:
            super().__init__({})
            tables = {"a.b": {"c": torch.zeros(2)}, "a": {"b.c": torch.ones(2)}}
            self.tables = jit.Attribute(tables, dict[str, dict[str, Tensor]])

    source = saved("torchscript", Twins, tmp_path / "in.pt")
    with pytest.raises(UnsupportedContainerError, match=r"a\.b\.c"):
        convlast.digest(source, allow_programs=True)


def test_a_list_of_tensors_is_named_by_its_indices(tmp_path: Path) -> None:
    """What TorchScript writes of its type adds nothing to the names."""

    class Lists(Holder):
        def __init__(self) -> None:
            super().__init__({})
            self.lists = jit.Attribute([[torch.zeros(1)], [torch.ones(1)]], list[list[Tensor]])

    source = saved("torchscript", Lists, tmp_path / "in.pt")
    names = [each.name for each in convlast.digest(source, allow_programs=True).tensors]
    assert names == ["conv.bias", "conv.weight", "lists.0.0", "lists.1.0"]


def test_another_program_in_the_archive_is_refused(tmp_path: Path) -> None:
    """Its tensors are none of the list's."""
    from torch.export.pt2_archive._package import package_pt2

    program = torch.export.export(Holder({}), (torch.ones(1, 2, 3, 3, 3),))
    path = tmp_path / "two.pt2"
    package_pt2(path, exported_programs={"model": program, "other": program})
    with pytest.raises(UnsupportedContainerError, match="other_weights_config"):
        convlast.digest(path, allow_programs=True)


def test_in_a_folder_a_program_that_is_refused_is_named(tmp_path: Path) -> None:
    """It has no lines, as a file that is not opened."""
    folder = building.model_folder(tmp_path / "folder")
    saved("torchscript", lambda: Holder({"b0": MAKERS["sparse"](1)}), folder / "program.pt")
    found = convlast.digest(folder, allow_programs=True)
    assert "program.pt" in found.not_opened
    assert {each.file for each in found.tensors}.isdisjoint(found.not_opened)

"""Each attack is refused with its own code and a message that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import convlast
from convlast.errors import ConvlastError
from convlast.options import Limits, Options
from tests.hostile import (
    breaks_the_safetensors_header as header,
)
from tests.hostile import (
    breaks_the_zip,
    expands_without_bytes,
    lies_about_sizes,
    nests_objects,
    runs_code,
)

Build = Callable[[], bytes]

QUIET = Options(smoke="none")
HUGE = (1 << 62) + 1

ATTACKS: dict[str, tuple[Build, str, str]] = {
    "a class of its own": (
        runs_code.by_a_class_of_its_own, "unsafe-checkpoint", "mynet.models.UNet3d",
    ),
    "a call of a module class": (
        runs_code.by_calling_a_module_class, "unsafe-checkpoint", "Linear",
    ),
    "a stack global": (
        lambda: runs_code.by_a_stack_global("os", "system"), "unsafe-checkpoint", "os.system",
    ),
    "a stack global with a newline": (
        lambda: runs_code.by_a_stack_global("os\nsystem\n", "x"), "malformed-checkpoint", "name",
    ),
    "a stack global with a surrogate": (
        lambda: runs_code.by_a_stack_global("\ud800", "x"), "malformed-checkpoint", "name",
    ),
    "one expanded tensor": (
        expands_without_bytes.one_tensor, "limit-exceeded", "max_expanded_bytes",
    ),
    "many expanded tensors": (
        expands_without_bytes.many_tensors, "limit-exceeded", "max_expanded_bytes",
    ),
    "lists in lists": (lambda: nests_objects.lists(10_000), "malformed-checkpoint", "deep"),
    "200,000 lists in lists": (
        lambda: nests_objects.lists(200_000), "malformed-checkpoint", "deep",
    ),
    "a dict in itself": (nests_objects.itself_in_a_dict, "malformed-checkpoint", "themselves"),
    "a list in itself": (nests_objects.itself_in_a_list, "malformed-checkpoint", "themselves"),
    "a billion tensors": (
        lambda: nests_objects.a_billion_places(for_a_tensor=True), "limit-exceeded", "max_tensors",
    ),
    "a tuple bomb as an identity": (
        lambda: nests_objects.tuples(b"Q"), "malformed-checkpoint", "storage",
    ),
    "a tuple bomb in an identity": (
        lambda: nests_objects.tuples(b"q\xf0(h\xf0h\xf0h\xf0h\xf0h\xf0tQ"),
        "malformed-checkpoint", "storage",
    ),
    "a tuple bomb for a global": (
        lambda: nests_objects.tuples(b"q\xf0h\xf0\x93"), "malformed-checkpoint", "name",
    ),
    "a tuple bomb that is called": (
        lambda: nests_objects.tuples(b")R"), "unsafe-checkpoint", "is called",
    ),
    "a tuple bomb that is made": (
        lambda: nests_objects.tuples(b")\x81"), "unsafe-checkpoint", "is called",
    ),
    "deep tuples as an identity": (
        lambda: nests_objects.deep_tuples(b"Q"), "malformed-checkpoint", "storage",
    ),
    "deep tuples for a global": (
        lambda: nests_objects.deep_tuples(b"q\x00h\x00\x93"), "malformed-checkpoint", "name",
    ),
    "a storage larger than its member": (
        lies_about_sizes.storage_larger_than_its_member, "malformed-checkpoint", "data/0",
    ),
    "a storage of negative size": (
        lies_about_sizes.storage_of_negative_size, "malformed-checkpoint", "storage",
    ),
    "a storage that is not there": (
        lies_about_sizes.storage_that_is_not_there, "malformed-checkpoint", "data/7",
    ),
    "a storage with a path for a key": (
        lies_about_sizes.storage_with_a_path_for_a_key, "malformed-checkpoint", "not there",
    ),
    "a tensor past its storage": (
        lies_about_sizes.tensor_past_its_storage, "malformed-checkpoint", "storage",
    ),
    "a negative stride": (
        lies_about_sizes.tensor_of_negative_stride, "malformed-checkpoint", "PyTorch",
    ),
    "a numel that overflows": (
        lies_about_sizes.tensor_whose_numel_overflows, "malformed-checkpoint", "PyTorch",
    ),
    "an empty identity": (
        lambda: lies_about_sizes.persistent_id(b")"), "malformed-checkpoint", "storage",
    ),
    "an identity in text": (
        lies_about_sizes.persistent_id_in_text, "malformed-checkpoint", "PyTorch",
    ),
    "a sparse tensor": (
        lies_about_sizes.sparse_with_false_indices, "unsupported-container", "sparse",
    ),
    "a quantized tensor": (lies_about_sizes.quantized, "unsupported-container", "quantized"),
    "views in a legacy file": (
        lies_about_sizes.legacy_with_views, "unsupported-container", "torch.load",
    ),
    "compressed members": (breaks_the_zip.deflated, "malformed-checkpoint", "torch.save"),
    "a member twice": (breaks_the_zip.duplicate_member, "malformed-checkpoint", "twice"),
    "an encrypted member": (breaks_the_zip.encrypted, "malformed-checkpoint", "encrypted"),
    "a member that is a patch": (breaks_the_zip.marked_as_patch, "malformed-checkpoint", "marked"),
    "a member that is a folder": (
        breaks_the_zip.marked_as_folder, "malformed-checkpoint", "marked",
    ),
    "two names for a member": (
        breaks_the_zip.other_local_name, "malformed-checkpoint", "another name",
    ),
    "overlapping members": (
        breaks_the_zip.overlapping_members, "malformed-checkpoint", "shares bytes",
    ),
    "a member outside the file": (
        breaks_the_zip.member_outside_the_file, "malformed-checkpoint", "header",
    ),
    "a member at 2⁶³": (
        lambda: breaks_the_zip.member_of_64_bit_offset(1 << 63), "malformed-checkpoint", "header",
    ),
    "a member at 2⁶⁴ - 1": (
        lambda: breaks_the_zip.member_of_64_bit_offset((1 << 64) - 2),
        "malformed-checkpoint", "header",
    ),
    "a wrong CRC of data": (
        lambda: breaks_the_zip.wrong_crc("data/0"), "malformed-checkpoint", "CRC",
    ),
    "a wrong CRC of the pickle": (
        lambda: breaks_the_zip.wrong_crc("data.pkl"), "malformed-checkpoint", "CRC",
    ),
    "two roots": (breaks_the_zip.two_roots, "malformed-checkpoint", "root"),
    "another zip": (breaks_the_zip.no_checkpoint, "not-a-checkpoint", "torch.save"),
    "a pickle outside a folder": (
        breaks_the_zip.only_a_pickle_in_the_root, "not-a-checkpoint", "no checkpoint",
    ),
    "a pickle in another folder": (
        breaks_the_zip.a_pickle_one_folder_too_deep, "not-a-checkpoint", "no checkpoint",
    ),
    "a big-endian machine": (breaks_the_zip.big_endian, "unsupported-container", "big-endian"),
    "a header longer than the file": (
        header.longer_than_the_file, "malformed-checkpoint", "header",
    ),
    "a header too large": (header.too_large, "limit-exceeded", "max_header_bytes"),
    "a header that is not JSON": (header.not_json, "malformed-checkpoint", "JSON"),
    "a header of nested lists": (header.deep_json, "malformed-checkpoint", "JSON"),
    "a hole": (header.with_a_hole, "malformed-checkpoint", "safetensors"),
    "overlapping tensors": (header.overlapping, "malformed-checkpoint", "safetensors"),
    "a shape that does not fit": (header.misfit, "malformed-checkpoint", "safetensors"),
    "a shape that overflows": (
        lambda: header.overflowing_shape(0, HUGE, HUGE), "malformed-checkpoint", "shape",
    ),
    "a shape beyond 64 bits": (
        lambda: header.overflowing_shape(0, (1 << 64) - 1), "malformed-checkpoint", "shape",
    ),
    "metadata of numbers": (
        lambda: header.with_metadata({"a": 1}), "malformed-checkpoint", "safetensors",
    ),
    "metadata that is a list": (
        lambda: header.with_metadata(["convlast"]), "malformed-checkpoint", "safetensors",
    ),
    "an unknown dtype": (header.of_an_unknown_dtype, "unsupported-container", "F4"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_refused(attack: str, tmp_path: Path) -> None:
    """One kind of error, with its code; the file stays as it was, and nothing else is there."""
    build, code, words = ATTACKS[attack]
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    source.write_bytes(build())
    before = source.read_bytes()
    with pytest.raises(ConvlastError) as refusal:
        convlast.convert(source, target, QUIET)
    assert refusal.value.code == code, refusal.value
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 1000
    assert list(tmp_path.iterdir()) == [source]
    assert source.read_bytes() == before


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_runs(legacy: bool, tmp_path: Path) -> None:
    """A pickle that calls `os.system` is refused by that name, and leaves no trace."""
    trace, source = tmp_path / "trace", tmp_path / "source.pt"
    source.write_bytes(runs_code.by_os_system(trace, legacy=legacy))
    with pytest.raises(convlast.ConvlastError, match=r"posix\.system") as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert refusal.value.code == "unsafe-checkpoint"
    assert "torch.save(model.state_dict(), path)" in refusal.value.remedy
    assert list(tmp_path.iterdir()) == [source]


def test_no_code_runs_in_the_preamble(tmp_path: Path) -> None:
    """Nor does it in the pickles before the objects of a legacy file."""
    trace, source = tmp_path / "trace", tmp_path / "source.pt"
    source.write_bytes(runs_code.in_the_legacy_preamble(trace))
    with pytest.raises(convlast.ConvlastError, match=r"posix\.system"):
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert not trace.exists()


def test_a_billion_empty_lists_are_visited_once(tmp_path: Path) -> None:
    """A list that stands in 2⁴⁰ places, and leads to no tensor, costs nothing and is kept."""
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    source.write_bytes(nests_objects.a_billion_places(for_a_tensor=False))
    report = convlast.convert(source, target, QUIET)
    assert report.proof is not None
    assert report.proof.structure == "identical"


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (Limits(max_members=2), "max_members"),
        (Limits(max_pickle_bytes=20), "max_pickle_bytes"),
        (Limits(max_tensors=1), "max_tensors"),
    ],
)
def test_limits_are_named(limits: Limits, limit: str, tmp_path: Path) -> None:
    """What is beyond a limit is refused, with the limit and the setting that raises it."""
    source = tmp_path / "source.pt"
    source.write_bytes(expands_without_bytes.many_tensors(2))
    with pytest.raises(ConvlastError) as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET, limits=limits)
    assert refusal.value.code == "limit-exceeded"
    assert refusal.value.details["limit"] == limit
    assert f"CONVLAST_{limit.upper()}" in refusal.value.remedy


def test_expansion_within_the_limit_is_kept(tmp_path: Path) -> None:
    """A tensor of stride 0 is nothing bad in itself."""
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    source.write_bytes(expands_without_bytes.one_tensor(1000))
    convlast.convert(source, target, QUIET)
    assert convlast.load(target)["huge"].stride() == (0,)


def test_one_storage_of_two_dtypes_is_what_torch_makes_of_it(tmp_path: Path) -> None:
    """Torch takes the first name; so does the artifact, or the file is refused."""
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    source.write_bytes(lies_about_sizes.one_storage_of_two_dtypes())
    report = convlast.convert(source, target, QUIET)
    assert [layer.reason for layer in report.layers] == ["shared-storage"]


def test_metadata_of_null_is_none(tmp_path: Path) -> None:
    """Safetensors takes a null for metadata; so it is read as none."""
    source = tmp_path / "source.safetensors"
    source.write_bytes(header.with_metadata(None))
    assert convlast.convert(source, tmp_path / "target.pt", QUIET).verdict == "passed"

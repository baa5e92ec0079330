"""What holds for every checkpoint, whatever is in it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import convlast
from convlast.options import Options
from convlast.planning.casting import WIDER
from tests.exactness import Loaded, ObjectPath, at, restrided, strides_by_pytorch
from tests.strategies import Drawn, checkpoints

QUIET = Options(smoke="none")
UNDO = Options(smoke="none", memory_format="contiguous_format")

a_law = settings(
    max_examples=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def tensors_in(value: Any, path: ObjectPath = ()) -> Iterator[tuple[ObjectPath, Any]]:
    """Yield each tensor or bare storage, with its path."""
    if isinstance(value, Tensor | torch.storage.TypedStorage | torch.UntypedStorage):
        yield path, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from tensors_in(child, (*path, key))
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from tensors_in(child, (*path, index))


def offsets_of(tensor: Tensor) -> list[int]:
    """Return where each element lies in its storage."""
    numel = tensor.untyped_storage().nbytes() // tensor.element_size()
    places = torch.arange(numel).as_strided(
        tensor.shape, tensor.stride(), int(tensor.storage_offset())
    )
    return sorted(places.flatten().tolist())


def place_of(tensor: Tensor) -> tuple[object, ...]:
    """Return what a tensor shares with its aliases."""
    storage = tensor.untyped_storage()._cdata
    return storage, tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def is_convertible(tensor: Tensor, everything: list[Any]) -> bool:
    """Say, by counting elements, whether a weight can change its layout without harm."""
    own = offsets_of(tensor)
    if own and own != list(range(own[0], own[-1] + 1)):
        return False  # elements are shared, or there are gaps
    for other in everything:
        if not isinstance(other, Tensor):
            bare = getattr(other, "_untyped_storage", other)
            if own and bare._cdata == tensor.untyped_storage()._cdata:
                return False
        elif place_of(other) != place_of(tensor) and other.untyped_storage()._cdata == (
            tensor.untyped_storage()._cdata
        ):
            theirs = offsets_of(other)
            if own and theirs and theirs[0] <= own[-1] and own[0] <= theirs[-1]:
                return False
    return True


def expected_strides(root: Any) -> dict[ObjectPath, tuple[int, ...]]:
    """Return the new strides of each tensor that a conversion may change, by its path."""
    found = list(tensors_in(root))
    everything = [value for _, value in found]
    targets = {
        place_of(value): strides_by_pytorch(value)
        for path, value in found
        if isinstance(value, Tensor)
        and value.dim() == 5
        and str(path[-1]).endswith(".weight")
        and is_convertible(value, everything)
    }
    return {
        path: targets[place_of(value)]
        for path, value in found
        if isinstance(value, Tensor)
        and place_of(value) in targets
        and targets[place_of(value)] != value.stride()
    }


def state_dict_tensors(root: Any) -> list[ObjectPath]:
    """Return the paths of the tensors that stand beside a convolution's weight."""
    tensors = [(path, value) for path, value in tensors_in(root) if isinstance(value, Tensor)]
    state_dicts = {
        path[:-1]
        for path, value in tensors
        if value.dim() == 5 and str(path[-1]).endswith(".weight")
    }
    return [path for path, _ in tensors if path[:-1] in state_dicts]


@a_law
@given(checkpoints(), st.booleans(), st.sampled_from(["cpu", "cuda:0", "cuda:3"]))
def test_only_strides_of_convolution_weights_change(
    drawn: Drawn, is_legacy: bool, tag: str
) -> None:
    """Exactly those weights that can be converted are, to PyTorch's strides, and all else stays."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.pt", Path(folder) / "target.pt"
        is_zip = not is_legacy or holds_fp8(drawn.root)  # torch loads no legacy files of fp8
        with tagged(tag):
            torch.save(drawn.root, source, _use_new_zipfile_serialization=is_zip)
        before = source.read_bytes()
        report = convlast.convert(source, target, QUIET)

        assert source.read_bytes() == before
        assert sorted(path.name for path in Path(folder).iterdir()) == ["source.pt", "target.pt"]
        changed = restrided(source, target)
        assert {path: new for path, (_, new) in changed.items()} == expected_strides(
            Loaded(source).root
        )
        assert report.proof is not None
        assert (report.proof.values, report.proof.strides) == ("identical", "exact")
        assert report.proof.structure == "identical"
        assert convlast.verify(source, target).verdict == "passed"


@a_law
@given(checkpoints())
def test_the_report_says_what_was_done(drawn: Drawn) -> None:
    """Strides before and after, and the status of each layer, are those of the two files."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.pt", Path(folder) / "target.pt"
        torch.save(drawn.root, source)
        layers = convlast.convert(source, target, QUIET).layers
        old, new = Loaded(source).root, Loaded(target).root
    weights = [
        path
        for path, value in tensors_in(old)
        if isinstance(value, Tensor) and value.dim() == 5 and str(path[-1]).endswith(".weight")
    ]
    weights = [path for path in weights if isinstance(at(old, path[:-1]), dict)]
    assert len(layers) == len(weights)
    for layer, path in zip(layers, weights, strict=True):
        before, after = at(old, path), at(new, path)
        assert layer.stride_before == list(before.stride())
        assert layer.stride_after == list(after.stride())
        assert (layer.status == "converted") == (before.stride() != after.stride())
        assert (layer.status == "already") == (before.stride() == strides_by_pytorch(before))
        assert (layer.reason is not None) == (layer.status == "skipped")


@a_law
@given(checkpoints())
def test_converting_twice_is_converting_once(drawn: Drawn) -> None:
    """A converted file has nothing left to change, and so comes back byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        source, once, twice = (Path(folder) / name for name in ("source", "once", "twice"))
        torch.save(drawn.root, source)
        convlast.convert(source, once, QUIET)
        report = convlast.convert(once, twice, QUIET)
        assert once.read_bytes() == twice.read_bytes()
        assert report.artifact is not None
        assert report.artifact.unchanged


@a_law
@given(checkpoints())
def test_undo_gives_back_the_original(drawn: Drawn) -> None:
    """After an undo every stride is what it was, whatever order of axes that is.

    What needed no change carries no note of what was there before.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, there, back = (Path(folder) / name for name in ("source", "there", "back"))
        torch.save(drawn.root, source)
        artifact = convlast.convert(source, there, QUIET).artifact
        assume(artifact is not None and not artifact.unchanged)
        convlast.convert(there, back, UNDO)
        assert restrided(source, back) == {}


@a_law
@given(checkpoints(dtypes=(torch.float32, torch.bfloat16, torch.float64, torch.int64)))
def test_a_cast_is_a_cast_and_a_conversion(drawn: Drawn) -> None:
    """With `dtype=float16` aliases are kept, and each value is `.half()` or, as told, as it was."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        torch.save(drawn.root, source)
        report = convlast.convert(source, target, Options(smoke="none", dtype="float16"))
        old, new = Loaded(source).root, Loaded(target).root
    assert report.proof is not None
    assert report.proof.structure == "identical"
    partners: dict[int, int] = {}
    for path, before in tensors_in(old):
        if not isinstance(before, Tensor) or before.numel() == 0:
            continue
        after = at(new, path)
        left, right = before.untyped_storage()._cdata, after.untyped_storage()._cdata
        assert partners.setdefault(left, right) == right
        assert after.dtype in {before.dtype, torch.float16}
        expected = before.detach().to(after.dtype)
        assert torch.equal(expected.isnan(), after.isnan())
        assert torch.equal(expected.nan_to_num(), after.detach().nan_to_num())
    for path, strides in expected_strides(old).items():
        assert at(new, path).stride() == strides
    is_told = any(found.code == "not-cast" for found in report.findings)
    assert is_told == any(at(new, path).dtype in WIDER for path in state_dict_tensors(old))


@a_law
@given(st.recursive(st.none() | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_what_is_no_tensor_is_kept(value: object) -> None:
    """Whatever stands beside the weights comes back equal, and of the same type."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        torch.save({"conv.weight": torch.ones(2, 3, 2, 2, 2), "beside": value}, source)
        convlast.convert(source, target, QUIET)
        assert restrided(source, target).keys() == {("conv.weight",)}


def holds_fp8(root: Any) -> bool:
    """Say whether there is a tensor of eight bits that is a floating-point number."""
    return any(
        isinstance(value, Tensor) and value.itemsize == 1 and value.is_floating_point()
        for _, value in tensors_in(root)
    )


def tagged(tag: str) -> Any:
    """Save as a machine would whose tensors are on another device."""
    return mock.patch.object(torch.serialization, "location_tag", return_value=tag)


def test_the_strategy_is_not_vacuous() -> None:
    """The laws are tried on conversions, skips, aliases and views that overlap."""
    seen: set[str] = set()

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(checkpoints())
    def look(drawn: Drawn) -> None:
        buffer = io.BytesIO()
        torch.save(drawn.root, buffer)
        buffer.seek(0)
        root = torch.load(buffer, weights_only=True)
        found = [value for _, value in tensors_in(root) if isinstance(value, Tensor)]
        changed = expected_strides(root)
        seen.update({"converted"} if changed else {"nothing converted"})
        seen.update("skipped" for value in found if not is_convertible(value, found))
        seen.update("alias" for path in changed if not str(path[-1]).endswith(".weight"))
        seen.update("conj" for path in changed if at(root, path).is_conj())
        seen.update("empty" for path in changed if at(root, path).numel() == 0)

    look()
    assert seen >= {"converted", "skipped", "alias", "conj", "empty"}

"""`convert`: files in every container, the same bytes every time, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convlast
from convlast import conversion
from convlast.errors import (
    UnsupportedContainerError,
)
from convlast.options import Options
from convlast.report import Report
from convlast.report.rendering import html
from tests import builders
from tests.exactness import Loaded, restrided, strides_by_pytorch

QUIET = Options(smoke="none")
UNDO = Options(smoke="none", memory_format="contiguous_format")

CHECKPOINTS: dict[str, tuple[Callable[[], Any], set[tuple[object, ...]]]] = {
    "one convolution": (builders.one_convolution, {("conv.weight",)}),
    "a model": (
        lambda: builders.a_model().state_dict(),
        {("0.weight",), ("2.weight",), ("3.weight",), ("4.weight",)},
    ),
    "nested wrappers": (
        builders.nested_wrappers,
        {("models", 0, "net", "conv.weight"), ("models", 1, "net", "weight")},
    ),
    "tied weights": (builders.tied_weights, {("encoder.weight",), ("decoder.weight",)}),
    "aliases": (builders.aliases, {("encoder.weight",), ("decoder.weight",)}),
    "neighbours": (builders.neighbours, {("a.weight",), ("b.weight",)}),
    "overlapping views": (builders.overlapping_views, set()),
    "parameters": (
        builders.with_parameters, {("conv.weight",), ("frozen.weight",), ("leaf.weight",)},
    ),
    "an optimizer": (builders.with_optimizer, {("model", "weight")}),
    "a bare list": (lambda: [builders.one_convolution()], {(0, "conv.weight")}),
    "a tuple": (lambda: (builders.one_convolution(), 7), {(0, "conv.weight")}),
}  # fmt: skip


@pytest.mark.parametrize("save", [builders.save, builders.save_legacy])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_exactly_these_change(
    name: str, save: Callable[[object, Path], Path], tmp_path: Path
) -> None:
    """Convolution weights get PyTorch's strides; the rest is the same in every respect."""
    build, expected = CHECKPOINTS[name]
    source, target = save(build(), tmp_path / "source.pt"), tmp_path / "target.pt"
    convlast.convert(source, target, QUIET)
    changed = restrided(source, target)
    assert changed.keys() == expected
    root = Loaded(source).root
    for path, (_, new) in changed.items():
        weight = root
        for part in path:
            weight = weight[part]
        assert new == strides_by_pytorch(weight)


@pytest.mark.parametrize("tag", ["cuda:0", "cuda:7", "mps", "xpu:1", "hpu"])
@pytest.mark.parametrize("legacy", [False, True])
def test_device_tags_are_kept(tag: str, legacy: bool, tmp_path: Path) -> None:
    """A file from a machine with an accelerator stays one, also where there is none."""
    source = builders.save_from(
        tag,
        builders.nested_wrappers(),
        tmp_path / "source.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    convlast.convert(source, tmp_path / "target.pt", QUIET)
    restrided(source, tmp_path / "target.pt")
    assert set(Loaded(tmp_path / "target.pt").tags.values()) == {tag}


def test_empty_tensors_of_a_legacy_file_share_a_storage(tmp_path: Path) -> None:
    """torch.load gives each one of its own, which is none of the file's; their tag is kept."""
    empty = torch.empty(0)
    views = {"view": empty.view(0, 3), "integers": empty.view(torch.int32)}
    root = {**builders.one_convolution(), "empty": empty, **views}
    source = builders.save_from(
        "cuda:7", root, tmp_path / "source.pt", _use_new_zipfile_serialization=False
    )
    convlast.convert(source, tmp_path / "target.pt", QUIET)
    loaded = Loaded(tmp_path / "target.pt")
    assert set(loaded.tags.values()) == {"cuda:7"}
    assert loaded.root["integers"].dtype == torch.int32
    assert convlast.verify(source, tmp_path / "target.pt").verdict == "passed"


def test_the_same_bytes_from_another_process_under_another_name(tmp_path: Path) -> None:
    """Neither the process, its hash seed, the file's name nor the time is in the artifact."""
    source = builders.save_legacy(builders.nested_wrappers(), tmp_path / "source.pt")
    other = tmp_path / "other name.ckpt"
    other.write_bytes(source.read_bytes())
    convlast.convert(source, tmp_path / "here", QUIET)
    convlast.convert(other, tmp_path / "there", QUIET)
    program = (
        "import convlast, sys; convlast.convert(*sys.argv[1:], convlast.Options(smoke='none'))"
    )
    subprocess.run(
        [sys.executable, "-c", program, other, tmp_path / "elsewhere"],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )
    here = (tmp_path / "here").read_bytes()
    assert here == (tmp_path / "there").read_bytes()
    assert here == (tmp_path / "elsewhere").read_bytes()


@pytest.mark.parametrize("undone", [False, True], ids=["written", "copied"])
def test_what_is_called_final_stays_so(tmp_path: Path, undone: bool) -> None:
    """Whoever reads the artifact while it grows reads what it has in the end, to its last byte."""
    source = builders.save(builders.a_model().state_dict(), tmp_path / "model.pt")
    seen: list[bytes] = []

    def grown(path: Path, nbytes: int) -> None:
        seen.append(path.read_bytes()[:nbytes])

    settings = conversion.JobSettings("cpu", grown=grown)
    made = tmp_path / "made.pt"
    conversion.convert_to(source, made, UNDO if undone else QUIET, settings)
    content = made.read_bytes()
    assert seen[-1] == content
    assert all(content.startswith(each) for each in seen)


def test_safetensors_become_a_torch_file(tmp_path: Path) -> None:
    """The artifact is a plain state dict, in the order of the file, with PyTorch's strides."""
    tensors = dict(builders.a_model().state_dict())
    source = builders.save_safetensors(tensors, tmp_path / "vae.safetensors")
    report, target = conversion.convert_into(source, tmp_path, QUIET)
    assert target.name == "vae.channels_last_3d.pt"
    assert report.artifact is not None
    assert report.artifact.container == "torch"
    loaded = torch.load(target, weights_only=True)
    assert loaded.keys() == tensors.keys()
    for key, value in tensors.items():
        assert torch.equal(loaded[key], value)
        expected = strides_by_pytorch(value) if value.dim() == 5 else value.stride()
        assert loaded[key].stride() == expected


def test_an_input_that_needs_no_change_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """What PyTorch's own function has converted is not written anew."""
    model = convlast.convert_conv3d_weight_memory_format(builders.a_model(), torch.channels_last_3d)
    source = builders.save(model.state_dict(), tmp_path / "source.pt")
    report = convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert {layer.status for layer in report.layers} == {"already"}
    assert source.read_bytes() == (tmp_path / "target.pt").read_bytes()


def test_an_unchanged_safetensors_file_whatever_its_name(tmp_path: Path) -> None:
    """The kind of a file is in its bytes: one that is called `.pt` is proven and kept too."""
    source = builders.save_safetensors({"c.weight": torch.ones(1, 2, 3, 3, 3)}, tmp_path / "a.pt")
    options = Options(smoke="none", container="safetensors", memory_format="contiguous_format")
    report = convlast.convert(source, tmp_path / "target", options)
    assert report.artifact is not None
    assert report.artifact.unchanged
    assert source.read_bytes() == (tmp_path / "target").read_bytes()


def test_a_torch_file_whatever_its_name(tmp_path: Path) -> None:
    """A torch file that is called `.safetensors` has its strides proven like any other."""
    first = builders.save(builders.one_convolution(), tmp_path / "first.pt")
    convlast.convert(first, tmp_path / "second.pt", QUIET)
    source = (tmp_path / "second.pt").rename(tmp_path / "model.safetensors")
    report = convlast.convert(source, tmp_path / "target", QUIET)
    assert "torch.load" in report.survival[0].route
    assert conversion.convert_into(source, tmp_path, QUIET)[1].suffix == ".pt"


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """A file system allows any bytes in a name; a report, which is JSON, has them escaped."""
    source = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    odd = source.rename(tmp_path / os.fsdecode(b"caf\xe9.pt"))
    report, made = conversion.convert_into(odd, tmp_path, QUIET)
    assert os.fsencode(made.name) == b"caf\xe9.channels_last_3d.pt"
    again = Report.model_validate_json(report.model_dump_json())
    assert (again.input.filename, again) == ("caf\\udce9.pt", report)
    assert html.render(again).encode()
    assert convlast.verify(odd, made).model_dump_json()
    assert convlast.inspect(odd).model_dump_json()


@pytest.mark.parametrize("keys", [("0",), (0, "net.ema"), ("a'b", "1.5"), ()])
def test_the_advised_way_to_load_it_is_code_that_runs(
    keys: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the keys of the wrapper: numbers, texts of digits, with dots or quotes in them."""
    model = builders.a_model()
    root: Any = model.state_dict()
    for key in reversed(keys):
        root = {key: root}
    source = builders.save(root, tmp_path / "source.pt")
    report = convlast.convert(source, tmp_path / "it's.pt", QUIET)
    monkeypatch.chdir(tmp_path)
    assert report.advice is not None
    exec(report.advice.load, {"torch": torch, "model": model})  # noqa: S102  # what a reader would run
    weight = model.get_parameter("0.weight")
    assert weight.stride() == strides_by_pytorch(weight)


def test_a_read_only_input_gives_an_artifact_like_any_other(tmp_path: Path) -> None:
    """Neither a conversion nor a plain copy takes the input's permissions over."""
    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    source.chmod(0o444)
    convlast.convert(source, tmp_path / "once.pt", QUIET)
    mode = (tmp_path / "once.pt").stat().st_mode
    (tmp_path / "once.pt").chmod(0o444)
    convlast.convert(tmp_path / "once.pt", tmp_path / "twice.pt", QUIET)
    assert (tmp_path / "twice.pt").stat().st_mode == mode


@pytest.mark.parametrize("save", [builders.save, builders.save_legacy])
def test_other_pickle_protocols(save: Callable[..., Path], tmp_path: Path) -> None:
    """Protocol 3 is read; later ones torch does not read, and the message says what to do."""
    for protocol in (2, 3):
        source = save(builders.aliases(), tmp_path / "s.pt", pickle_protocol=protocol)
        convlast.convert(source, tmp_path / f"{protocol}.pt", QUIET)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of protocol 3
            assert restrided(source, tmp_path / f"{protocol}.pt")
    for protocol in (4, 5):
        source = save(builders.aliases(), tmp_path / "s.pt", pickle_protocol=protocol)
        with pytest.raises(UnsupportedContainerError, match="protocol") as refusal:
            convlast.convert(source, tmp_path / "target.pt", QUIET)
        assert "torch.save" in refusal.value.remedy


@pytest.mark.parametrize("value", [b"abc", b"a" * 300], ids=["short", "long"])
@pytest.mark.parametrize("save", [builders.save, builders.save_legacy])
def test_bytes_in_protocol_3_are_refused_as_such(
    save: Callable[..., Path], value: bytes, tmp_path: Path
) -> None:
    """The file is sound: torch reads them in protocol 2, and not in this one."""
    root = {**builders.one_convolution(), "digest": value}
    source = save(root, tmp_path / "s.pt", pickle_protocol=3)
    with pytest.raises(UnsupportedContainerError, match="protocol 3") as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert "which is 2" in refusal.value.remedy
    source = save(root, tmp_path / "s.pt", pickle_protocol=2)
    assert convlast.convert(source, tmp_path / "target.pt", QUIET).verdict == "passed"


@pytest.mark.xfail(strict=True, reason="a set is pickled in the order of its hashes")
def test_a_set_of_words_is_written_in_one_order(tmp_path: Path) -> None:
    """The artifact is the same in processes that hash text differently."""
    root = {**builders.one_convolution(), "labels": set("abcdefgh")}
    source = builders.save(root, tmp_path / "source.pt")
    program = (
        "import convlast, sys; convlast.convert(*sys.argv[1:], convlast.Options(smoke='none'))"
    )
    for seed in "12":
        subprocess.run(
            [sys.executable, "-c", program, source, tmp_path / seed],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_an_alias_shares_the_fate_of_its_weight(tmp_path: Path) -> None:
    """One storage under a convertible and an inconvertible name: both are said to be the same."""
    weight = builders.numbered(*builders.SHAPE)
    root = {"a.weight_v": weight, "b.weight": weight.detach()}
    source, target = builders.save(root, tmp_path / "source.pt"), tmp_path / "target.pt"
    report = convlast.convert(source, target, QUIET)
    loaded = torch.load(target, weights_only=True)
    for layer in report.layers:
        assert layer.stride_after == list(loaded[layer.name].stride())
        assert (layer.status == "converted") == (layer.stride_before != layer.stride_after)


def test_objects_nested_as_deep_as_is_allowed(tmp_path: Path) -> None:
    """What can be opened can be written, from a caller that is deep in the stack itself."""
    root: Any = builders.one_convolution()
    for level in range(190):
        root = [root] if level % 2 else OrderedDict({"model": root})

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        else:
            convlast.convert(source, tmp_path / "target.pt", QUIET)

    source = builders.save(root, tmp_path / "source.pt")
    deep(150)
    assert len(restrided(source, tmp_path / "target.pt")) == 1


def test_extra_members_are_carried_over(tmp_path: Path) -> None:
    """What stands in the archive beside torch's own members stays."""
    import zipfile

    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("source/extra/notes.txt", "kept")
    convlast.convert(source, tmp_path / "target.pt", QUIET)
    with zipfile.ZipFile(tmp_path / "target.pt") as archive:
        assert archive.testzip() is None
        assert archive.read("source/extra/notes.txt") == b"kept"


def test_progress_is_told(tmp_path: Path) -> None:
    """Each stage says how far it is, and never goes past its total."""
    told: list[tuple[str, int, int]] = []
    source = builders.save(builders.a_model().state_dict(), tmp_path / "source.pt")
    convlast.convert(
        source,
        tmp_path / "t.pt",
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert {stage for stage, _, _ in told} == {"read", "write", "prove", "smoke", "survival"}
    assert all(done <= total for _, done, total in told)


def test_kinds_are_told_from_the_bias(tmp_path: Path) -> None:
    """A transposed convolution is known by its bias; without one the report says `unknown`."""
    source = builders.save(builders.a_model().state_dict(), tmp_path / "source.pt")
    kinds = {layer.name: layer.kind for layer in convlast.inspect(source).layers}
    assert kinds == {
        "0.weight": "Conv3d",
        "2.weight": "Conv3d",
        "3.weight": "ConvTranspose3d",
        "4.weight": "unknown",
    }


def test_a_module_and_its_checkpoint_agree(tmp_path: Path) -> None:
    """The artifact has the strides that the same module gets in memory."""
    model: nn.Module = builders.a_model()
    source = builders.save(model.state_dict(), tmp_path / "source.pt")
    convlast.convert(source, tmp_path / "target.pt", QUIET)
    expected = convlast.convert_conv3d_weight_memory_format(model, torch.channels_last_3d)
    loaded = torch.load(tmp_path / "target.pt", weights_only=True)
    for key, value in expected.state_dict().items():
        assert loaded[key].stride() == value.stride()
        assert torch.equal(loaded[key], value)

"""TorchScript archives: read without running them, written member by member, loaded by torch."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

import convlast
from convlast.checkpoints.programs.script_code import calls_in
from convlast.errors import (
    CheckpointError,
    LimitExceededError,
    MalformedCheckpointError,
    OptionError,
    ProgramNotAllowedError,
    VerificationError,
)
from convlast.options import Limits, Options
from convlast.report import Report

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, and says so

QUIET = Options(smoke="none")
jit: Any = torch.jit


class Net(nn.Module):
    """Both kinds of convolution, one of them under two names, and a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(2, 4, 3, padding=1, stride=2)
        self.again = nn.Conv3d(4, 4, 3, padding=1, groups=2)
        self.same = self.again
        self.up = nn.ConvTranspose3d(4, 4, 2, 2)
        self.flat = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run all of it."""
        y = F.relu(self.same(self.again(self.first(x))))
        result: torch.Tensor = self.flat(self.up(y)[:, :, 0])
        return result


class Viewing(nn.Module):
    """A view between a convolution and a linear layer, as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 4, 3, padding=1)
        self.head = nn.Linear(4 * 64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify."""
        result: torch.Tensor = self.head(self.conv(x).view(-1, 4 * 64))
        return result


SAMPLE = torch.randn(2, 2, 8, 8, 8, generator=torch.Generator().manual_seed(1))


def scripted(path: Path) -> Path:
    """Save a compiled program, with a file of its own beside it."""
    jit.save(jit.script(Net().eval()), path, _extra_files={"note.txt": "kept"})
    return path


def traced(path: Path) -> Path:
    """Save a traced program, which keeps the inputs it was traced with."""
    jit.save(jit.trace(Net().eval(), SAMPLE), path)
    return path


def frozen(path: Path) -> Path:
    """Save a program whose weights have become constants of its code."""
    jit.save(jit.freeze(jit.script(Net().eval())), path)
    return path


BUILDERS = {"scripted": scripted, "traced": traced, "frozen": frozen}


def convert(source: Path, target: Path, options: Options = QUIET) -> Report:
    """Convert, with programs allowed."""
    return convlast.convert(source, target, options, allow_programs=True)


def members_of(path: Path) -> dict[str, tuple[int, bytes]]:
    """Return each member's method of compression and bytes, by its name below the root."""
    with zipfile.ZipFile(path) as archive:
        return {
            entry.filename.partition("/")[2]: (entry.compress_type, archive.read(entry))
            for entry in archive.infolist()
        }


def rewritten(source: Path, target: Path, member: str, data: bytes | None) -> Path:
    """Copy an archive with one member changed, or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            is_it = entry.filename.endswith(f"/{member}")
            if not is_it or data is not None:
                new.writestr(entry, data if is_it and data is not None else old.read(entry))
    return target


@pytest.mark.parametrize("kind", BUILDERS)
def test_it_runs_alike_and_keeps_its_strides(kind: str, tmp_path: Path) -> None:
    """PyTorch loads the artifact with the same results and channels-last weights."""
    source, target = BUILDERS[kind](tmp_path / "in.pt"), tmp_path / "out.pt"
    report = convert(source, target, Options(input_shape=(2, 2, 8, 8, 8)))
    before, after = jit.load(source), jit.load(target)

    assert report.verdict == "passed"
    assert report.input.container == "torchscript"
    assert report.artifact is not None
    assert report.artifact.container == "torchscript"
    assert {layer.status for layer in report.layers} == {"converted"}
    torch.testing.assert_close(after(SAMPLE), before(SAMPLE), rtol=1e-4, atol=1e-4)
    for name, weight in after.state_dict().items():
        assert torch.equal(weight, before.state_dict()[name])
        if weight.dim() == 5:
            assert weight.stride()[1] == 1, name
        else:
            assert weight.is_contiguous()


def test_constants_keep_their_strides(tmp_path: Path) -> None:
    """The constants of a frozen program are channels-last after PyTorch has loaded them."""
    convert(frozen(tmp_path / "in.pt"), tmp_path / "out.pt")
    graph = jit.load(tmp_path / "out.pt").graph
    constants = [
        node.t("value")
        for node in graph.nodes()
        if node.kind() == "prim::Constant" and "value" in node.attributeNames()
        and node.kindOf("value") == "t"
    ]  # fmt: skip
    volumes = [constant for constant in constants if constant.dim() == 5]
    assert len(volumes) == 3
    assert all(constant.stride()[1] == 1 for constant in volumes)


@pytest.mark.parametrize("kind", BUILDERS)
def test_the_code_tells_what_a_convolution_is(kind: str, tmp_path: Path) -> None:
    """Kind, groups, stride and padding are the program's own, and the smoke assumes nothing."""
    report = convert(BUILDERS[kind](tmp_path / "in.pt"), tmp_path / "out.pt", Options())
    facts = {(layer.kind, layer.groups) for layer in report.layers}
    assert facts == {("Conv3d", 1), ("Conv3d", 2), ("ConvTranspose3d", 1)}
    assert {layer.evidence.partition(":")[0] for layer in report.layers} == {"the program's code"}
    assert all(layer.smoke and layer.smoke.assumed == [] for layer in report.layers)


def test_aliases_stay_one(tmp_path: Path) -> None:
    """A module under two names is converted once, and its names share their bytes."""
    report = convert(scripted(tmp_path / "in.pt"), tmp_path / "out.pt")
    aliases = {layer.name: layer.alias_of for layer in report.layers}
    assert aliases["same.weight"] == "again.weight"
    loaded = jit.load(tmp_path / "out.pt").state_dict()
    assert loaded["same.weight"].data_ptr() == loaded["again.weight"].data_ptr()


@pytest.mark.parametrize("kind", BUILDERS)
def test_all_else_is_carried_over(kind: str, tmp_path: Path) -> None:
    """All other members are copied byte for byte, still compressed; one note is added."""
    source, target = BUILDERS[kind](tmp_path / "in.pt"), tmp_path / "out.pt"
    report = convert(source, target)
    before, after = members_of(source), members_of(target)
    note = after.pop("extra/convlast.json")
    changed = {name for name in before if before[name] != after[name]}
    storages = {name for name in changed if "/" in name}
    distinct = {layer.name for layer in report.layers if layer.alias_of is None}

    assert b"channels_last_3d" in note[1]
    assert list(before) == list(after)
    assert {before[name][0] for name in before} == {after[name][0] for name in after} == {0, 8}
    assert len(storages) == len(distinct)
    assert len(changed - storages) == 1
    assert changed - storages <= {"data.pkl", "constants.pkl"}


def test_the_note_is_read_by_torch(tmp_path: Path) -> None:
    """`torch.jit.load` reads the note, and the file's own extra files."""
    convert(scripted(tmp_path / "in.pt"), tmp_path / "out.pt")
    files = {"convlast.json": "", "note.txt": ""}
    jit.load(tmp_path / "out.pt", _extra_files=files)
    assert b"first.weight" in bytes(files["convlast.json"])  # type: ignore[arg-type]
    assert bytes(files["note.txt"]) == b"kept"  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", BUILDERS)
def test_undo_gives_the_original_back(kind: str, tmp_path: Path) -> None:
    """Undo restores every member, except for the note."""
    source, target, back = BUILDERS[kind](tmp_path / "a.pt"), tmp_path / "b.pt", tmp_path / "c.pt"
    convert(source, target)
    convert(target, back, Options(smoke="none", memory_format="contiguous_format"))
    after = members_of(back)
    after.pop("extra/convlast.json")
    assert after == members_of(source)


def test_verify(tmp_path: Path) -> None:
    """`verify` finds the layout, and any other difference."""
    source, target = scripted(tmp_path / "in.pt"), tmp_path / "out.pt"
    convert(source, target)
    report = convlast.verify(source, target, allow_programs=True)
    assert report.verdict == "passed"
    assert {layer.status for layer in report.layers} == {"converted"}
    _, data = members_of(target)["data/0"]
    other = rewritten(target, tmp_path / "other.pt", "data/0", data[:-1] + b"\x7f")
    assert convlast.verify(source, other, allow_programs=True).verdict == "failed"


def test_the_artifact_is_the_same_each_time(tmp_path: Path) -> None:
    """The same input gives the same bytes, and a converted one comes back as it is."""
    source = scripted(tmp_path / "in.pt")
    for name in ("one.pt", "two.pt"):
        convert(source, tmp_path / name)
    again = convert(tmp_path / "one.pt", tmp_path / "again.pt")
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "again.pt").read_bytes()
    assert again.artifact is not None
    assert again.artifact.unchanged


def test_a_view_that_breaks_is_found_by_a_run(tmp_path: Path) -> None:
    """A view that raises with two samples is found by a run, and there is no artifact."""
    jit.save(jit.script(Viewing().eval()), tmp_path / "in.pt")
    with pytest.raises(VerificationError, match="view size is not compatible"):
        convert(
            tmp_path / "in.pt",
            tmp_path / "out.pt",
            Options(smoke="none", input_shape=(2, 2, 4, 4, 4)),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in.pt"]


def test_a_view_is_warned_of_where_nothing_was_run(tmp_path: Path) -> None:
    """If nothing was run, a finding warns of a view in the code, and says how to have it run."""
    jit.save(jit.script(Viewing().eval()), tmp_path / "in.pt")
    report = convert(tmp_path / "in.pt", tmp_path / "out.pt")
    found = {finding.code: finding.message for finding in report.findings}
    assert "input_shape" in found["view-in-program"]
    assert report.verdict == "passed_with_findings"


class Pooling(nn.Module):
    """A view that every layout allows, behind a pooling to one voxel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool3d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a feature for each channel."""
        result: torch.Tensor = self.pool(self.conv(x)).view(-1, 4)
        return result


def test_a_view_is_not_warned_of_where_the_smoke_has_run_it(tmp_path: Path) -> None:
    """What the program did in the new layout counts, and not what its code might do."""
    jit.save(jit.script(Pooling().eval()), tmp_path / "in.pt")
    codes = {}
    for smoke in ("none", "model"):
        report = convert(tmp_path / "in.pt", tmp_path / "out.pt", Options.parse(smoke=smoke))
        assert report.smoke is not None
        codes[report.smoke.scope, report.smoke.status] = {each.code for each in report.findings}
    assert "view-in-program" in codes["none", "skipped"]
    assert "view-in-program" not in codes["model", "passed"]


def test_it_is_refused_unless_allowed(tmp_path: Path) -> None:
    """Without permission programs are refused by all verbs, and the message names the option."""
    source = scripted(tmp_path / "in.pt")
    with pytest.raises(ProgramNotAllowedError, match="allow-programs"):
        convlast.convert(source, tmp_path / "out.pt")
    with pytest.raises(ProgramNotAllowedError, match="allow-programs"):
        convlast.inspect(source)
    with pytest.raises(ProgramNotAllowedError, match="allow-programs"):
        convlast.verify(source, source)


def test_inspection_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The convolutions are found without PyTorch's loader."""
    source = scripted(tmp_path / "in.pt")
    monkeypatch.setattr(torch.jit, "load", None)
    report = convlast.inspect(source, allow_programs=True)
    assert {layer.status for layer in report.layers} == {"convertible"}


@pytest.mark.parametrize("options", [{"container": "torch"}, {"dtype": "float16"}])
def test_a_program_stays_what_it_is(options: dict[str, Any], tmp_path: Path) -> None:
    """A program cannot be converted to another container or dtype."""
    with pytest.raises(OptionError, match="stays what it is"):
        convert(scripted(tmp_path / "in.pt"), tmp_path / "out.pt", Options(**options))


def test_a_storage_that_is_too_small(tmp_path: Path) -> None:
    """A tensor that reaches past its member is refused, and no memory is set aside for it."""
    source = scripted(tmp_path / "in.pt")
    _, data = members_of(source)["data/0"]
    short = rewritten(source, tmp_path / "short.pt", "data/0", data[:-4])
    with pytest.raises(MalformedCheckpointError, match="past the end"):
        convlast.inspect(short, allow_programs=True)
    gone = rewritten(source, tmp_path / "gone.pt", "data/0", None)
    with pytest.raises(MalformedCheckpointError, match="no member"):
        convlast.inspect(gone, allow_programs=True)


def test_a_damaged_pickle(tmp_path: Path) -> None:
    """A damaged pickle is refused, whatever is in it."""
    source = scripted(tmp_path / "in.pt")
    _, data = members_of(source)["data.pkl"]
    for position in range(2, len(data), 7):
        broken = data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]
        path = rewritten(source, tmp_path / "broken.pt", "data.pkl", broken)
        with contextlib.suppress(CheckpointError):
            convlast.inspect(path, allow_programs=True)


def test_members_that_expand(tmp_path: Path) -> None:
    """A small archive that expands to a large one is refused by the limit."""
    source, bomb = scripted(tmp_path / "in.pt"), tmp_path / "bomb.pt"
    bomb.write_bytes(source.read_bytes())
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/code/zeros.py", bytes(1 << 22))
    with pytest.raises(LimitExceededError, match="max_expanded_bytes"):
        convlast.inspect(bomb, limits=Limits(max_expanded_bytes=1 << 20), allow_programs=True)


def test_calls_are_read_with_brackets_inside() -> None:
    """Arguments may be calls and lists, and missing ones have PyTorch's defaults."""
    code = (
        "y = torch.conv3d(torch.relu(f(x, [1, 2])), self.w, None, [2, 2, 2])\n"
        "z = torch._convolution(y, CONSTANTS.c1, b, [1, 1, 1], [0, 0, 0], [1, 1, 1], True, "
        "[0, 0, 0], 4, False, False, True, True)\n"
        "n = torch.conv3d(x"
    )
    first, second = calls_in(code)
    assert (first.weight, first.declaration.kind, first.declaration.groups) == (
        "self.w",
        "Conv3d",
        1,
    )
    assert first.declaration.hyperparameters is not None
    assert first.declaration.hyperparameters.stride == (2, 2, 2)
    assert first.declaration.hyperparameters.padding == (0, 0, 0)
    assert (second.weight, second.declaration.kind) == ("CONSTANTS.c1", "ConvTranspose3d")
    assert second.declaration.groups == 4


@pytest.mark.shared
def test_gnina(shared_checkpoints: Path, tmp_path: Path) -> None:
    """A real program: converted, equal for one sample, strides kept, its metadata still there."""
    source, target = shared_checkpoints / "gnina_default2017_torchscript.pt", tmp_path / "out.pt"
    report = convert(source, target)
    before, after = jit.load(source), jit.load(target)
    sample = torch.randn(1, 35, 48, 48, 48, generator=torch.Generator().manual_seed(0))
    assert [layer.status for layer in report.layers] == ["converted"] * 3
    for expected, found in zip(before(sample), after(sample), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert all(p.stride()[1] == 1 for p in after.parameters() if p.dim() == 5)
    files = {"metadata": ""}
    jit.load(target, _extra_files=files)
    assert b"resolution" in bytes(files["metadata"])  # type: ignore[arg-type]


@pytest.mark.shared
def test_gnina_breaks_with_two_samples(shared_checkpoints: Path, tmp_path: Path) -> None:
    """Its code views the output of a convolution: one sample passes, two are found to raise."""
    source = shared_checkpoints / "gnina_default2017_torchscript.pt"
    one = Options(smoke="none", input_shape=(1, 35, 48, 48, 48))
    two = Options(smoke="none", input_shape=(2, 35, 48, 48, 48))
    assert convert(source, tmp_path / "one.pt", one).verdict == "passed"
    with pytest.raises(VerificationError, match="view"):
        convert(source, tmp_path / "two.pt", two)


@pytest.mark.shared
def test_gnina_is_smoked_whole(shared_checkpoints: Path, tmp_path: Path) -> None:
    """A real program is run on an input that is found, and the line of its view is reported."""
    source = shared_checkpoints / "gnina_default2017_torchscript.pt"
    report = convert(source, tmp_path / "out.pt", Options(smoke="model", on_failure="report"))
    smoke = report.smoke
    assert smoke is not None
    assert (smoke.scope, smoke.origin, report.verdict) == ("model", "torchscript", "failed")
    assert {parity.pair for parity in smoke.parity if parity.passed} == {"dtype", "autocast"}
    assert {step.kind for step in smoke.trace} >= {"aten::_convolution", "aten::relu"}
    assert [step.module for step in smoke.trace if step.permutes] == ["features.unit1_conv1"]
    assert smoke.activations
    (error,) = (finding for finding in report.findings if finding.code == "layout-error")
    assert "aten::view, at input = torch.view(" in error.message

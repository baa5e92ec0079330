from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from convlast.byte_size import MAX_BYTES, Bytes, readable
from convlast.cli import app
from convlast.errors import LimitExceededError
from convlast.options import Limits
from service.settings import Settings, SettingsError
from tests import builders

SIZES = {
    "1": 1,
    "512M": 512_000_000,
    "4G": 4_000_000_000,
    "4GB": 4_000_000_000,
    "4GiB": 4 << 30,
    "4gib": 4 << 30,
    "4Gi": 4 << 30,
    " 4 GiB ": 4 << 30,
    "1.5k": 1500,
    "17179869184": 16 << 30,
    "1EiB": MAX_BYTES,
}
BAD = (
    "0",
    "-1",
    "-4G",
    "0G",
    "",
    "4 Gi B",
    "4,000",
    "4Gbit",
    "4GiBs",
    "1e9",
    "x",
    "2EiB",
    99 * "9",
)

SIZED_SETTINGS = [name for name in Settings.model_fields if name.endswith("_bytes")]


@pytest.mark.parametrize("text", SIZES)
def test_a_size_may_have_a_unit(text: str) -> None:
    """Units without an `i` are decimal, units with one are binary; upper and lower case count."""
    assert TypeAdapter(Bytes).validate_python(text) == SIZES[text]


@pytest.mark.parametrize("text", BAD)
def test_another_text_is_refused_with_an_example(text: str) -> None:
    """Nothing, negative numbers, nonsense and what follows a size are refused; the error helps."""
    with pytest.raises(ValidationError, match=r"such as 512M, 4GB \(decimal\) or 4GiB \(binary\)"):
        TypeAdapter(Bytes).validate_python(text)


@pytest.mark.parametrize("size", [1, 999, 1000, 1024, 4_000_000_000, 4 << 30, 200 << 20])
def test_what_is_shown_can_be_given(size: int) -> None:
    """A size that a unit holds exactly is read again as it was written."""
    assert TypeAdapter(Bytes).validate_python(readable(size)) == size


@pytest.mark.parametrize("name", SIZED_SETTINGS)
def test_every_setting_of_bytes_takes_a_unit(name: str) -> None:
    """`CONVLAST_…_BYTES=4GiB` is four binary gigabytes, and a bad size is refused by its name."""
    variable = f"CONVLAST_{name.upper()}"
    assert getattr(Settings.from_environment({variable: "4GiB"}), name) == 4 << 30
    with pytest.raises(SettingsError, match=f"{variable} has a bad value: .*4GiB"):
        Settings.from_environment({variable: "four"})


@pytest.mark.parametrize("name", [name for name in Limits.model_fields if name.endswith("_bytes")])
def test_every_limit_of_bytes_is_shown_with_its_unit(name: str) -> None:
    """`convlast convert --help` shows the default with its unit, which the option takes too."""
    option = f"--{name.replace('_', '-')}"
    shown = CliRunner().invoke(app, ["convert", "--help"], env={"COLUMNS": "200"}).output
    default = readable(Limits.model_fields[name].default)
    [line] = [line for line in shown.splitlines() if f"{option} " in line]
    assert "SIZE" in line
    assert f"[default: {default}]" in shown[shown.index(line) :]


def test_the_command_line_takes_a_unit(tmp_path: Path) -> None:
    """A limit with a unit is used, and the refusal states it in bytes and in the unit."""
    source = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    refused, used = (
        CliRunner().invoke(app, ["inspect", str(source), "--max-pickle-bytes", size])
        for size in ("0.02k", "1MiB")
    )
    assert "max_pickle_bytes allows 20 bytes." in refused.stderr
    assert used.exit_code == 0


def test_a_refusal_states_a_limit_of_bytes_twice() -> None:
    """The exact number is for programs, the unit beside it is for people."""
    error = LimitExceededError("Too long", limit="max_header_bytes", allowed=8 << 20, found=9 << 20)
    assert "9,437,184, where max_header_bytes allows 8,388,608 bytes (8 MiB)." in error.message

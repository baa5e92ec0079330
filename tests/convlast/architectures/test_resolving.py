from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convlast.architectures.resolving import PREFIXES, resolve
from convlast.errors import ArchitectureNotAllowedError, OptionError

HOSTILE = {
    "another module": ("os.system", "outside the allowed modules"),
    "the package above": ("fakenets.elsewhere.Outside", "outside the allowed modules"),
    "a name that begins like the prefix": ("fakenets.netsevil.Net", "outside the allowed modules"),
    "the prefix itself": ("fakenets.nets", "outside the allowed modules"),
    "a function that was imported": ("fakenets.nets.system", "neither a plain class nor"),
    "a Python function that was imported": ("fakenets.nets.run", "defined in subprocess"),
    "torch.load": ("fakenets.nets.load", "defined in torch.serialization"),
    "a class that was imported": ("fakenets.nets.tricks.foreign_class", "defined in torch.nn"),
    "a class of the package above": ("fakenets.nets.Outside", "defined in fakenets.elsewhere"),
    "a module that was imported": ("fakenets.nets.os", "but a module"),
    "something in a module that was imported": ("fakenets.nets.os.system", "no module"),
    "a module put under its name": ("fakenets.nets.aliased.system", "not a module of"),
    "a module linked into its folder": ("fakenets.nets.linked.Net", "not a module of"),
    "a dunder": ("fakenets.nets.plain.__builtins__", "not a dotted name of public parts"),
    "the globals of a function": ("fakenets.nets.make.__globals__", "not a dotted name"),
    "a dunder on the way": ("fakenets.nets.__class__.Net", "not a dotted name"),
    "a private name": ("fakenets.nets.tricks._Private", "not a dotted name"),
    "a private class under a public name": ("fakenets.nets.tricks.Public", "no public name"),
    "a method": ("fakenets.nets.plain.Net.forward", "no module"),
    "a class in a class": ("fakenets.nets.tricks.Inner", "no public name"),
    "a closure": ("fakenets.nets.tricks.inner", "no public name"),
    "a lambda": ("fakenets.nets.tricks.nameless", "no public name"),
    "a partial": ("fakenets.nets.tricks.partial", "but a partial"),
    "an instance": ("fakenets.nets.tricks.instance", "but a Net"),
    "an instance that says it is a class": ("fakenets.nets.tricks.pretending", "a Pretending"),
    "a metaclass": ("fakenets.nets.tricks.Renamed", "but a Meta"),
    "a metaclass that forges bases": ("fakenets.nets.tricks.Forged", "but a Meta"),
    "a class that is no model": ("fakenets.nets.tricks.NoModel", "not an nn.Module"),
    "a class that says it is from elsewhere": ("fakenets.nets.tricks.moved", "a different object"),
    "a function without annotation": ("fakenets.nets.tricks.untold", "does not say"),
    "a function of something else": ("fakenets.nets.tricks.told_something_else", "does not say"),
    "an annotation that is a program": ("fakenets.nets.tricks.told_a_program", "does not say"),
    "code from another file": ("fakenets.nets.tricks.foreign", "comes from another file"),
    "a wrapper of code from another file": (
        "fakenets.nets.tricks.wrapping",
        "comes from another file",
    ),
    "a function that wraps itself": ("fakenets.nets.tricks.circling", "wraps itself"),
    "nothing": ("", "not a dotted name"),
    "one part": ("Net", "not a dotted name"),
    "two dots": ("fakenets.nets..Net", "not a dotted name"),
    "a path": ("fakenets/nets/plain.Net", "not a dotted name"),
    "a call": ("fakenets.nets.make()", "not a dotted name"),
    "a line break": ("fakenets.nets.plain.Net\n", "not a dotted name"),
    "letters that look alike": ("fakenets.nets.plain.Ｎet", "not a dotted name"),
    "no end": ("fakenets.nets." + "a" * 10_000, "not a dotted name"),
    "no such name": ("fakenets.nets.plain.Nett", "there is no 'Nett'"),
}


@pytest.mark.parametrize(("name", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_outside_the_prefix_is_reached(fakenets: str, name: str, reason: str) -> None:
    """Each attempt to get around the allow-list is refused with a reason, and runs nothing."""
    with pytest.raises(ArchitectureNotAllowedError, match=reason) as refusal:
        resolve(name, [fakenets])

    assert refusal.value.code == "architecture-not-allowed"
    assert len(str(refusal.value)) < 1000
    assert "fakenets.nets.linked" not in sys.modules


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("fakenets.nets.Net", "Net"),
        ("fakenets.nets.plain.Net", "Net"),
        ("fakenets.nets.Alias", "Net"),
        ("fakenets.nets.make", "make"),
        ("fakenets.nets.plain.make", "make"),
        ("fakenets.nets.odd.make", "make"),
    ],
)
def test_what_is_defined_below_the_prefix_is_found(fakenets: str, name: str, own: str) -> None:
    """A class or function is found by the module that defines it, or by one that re-exports it."""
    assert resolve(name, [fakenets]).__qualname__ == own


def test_a_prefix_may_end_in_a_dot(fakenets: str) -> None:
    """A prefix may end in a dot or not."""
    assert resolve("fakenets.nets.Net", [f"{fakenets}."]).__name__ == "Net"


def test_no_prefix_allows_nothing(fakenets: str) -> None:
    """An empty list of prefixes allows nothing."""
    with pytest.raises(ArchitectureNotAllowedError, match="Allowed: none"):
        resolve("fakenets.nets.Net", [])


def test_the_prefixes_are_those_of_video_and_medicine() -> None:
    """By default the packages of video and medical models are allowed, and torch is not."""
    assert "monai.networks.nets" in PREFIXES
    with pytest.raises(ArchitectureNotAllowedError, match="outside the allowed modules"):
        resolve("torch.load")


def test_a_package_that_is_absent_is_named() -> None:
    """An allowed package that is not installed is named, with how to install it."""
    with pytest.raises(OptionError, match="pip install --no-deps a-package"):
        resolve("a_package.Net", ["a_package"])


def test_what_a_module_lacks_is_named(fakenets: str) -> None:
    """An import that fails says what is missing."""
    with pytest.raises(OptionError, match="a_package_that_is_not_there"):
        resolve("fakenets.nets.broken.Net", [fakenets])


def test_a_module_that_is_no_package_holds_no_modules(fakenets: str) -> None:
    """A prefix that is not a package is refused."""
    with pytest.raises(ArchitectureNotAllowedError, match=r"not a package with an __init__\.py"):
        resolve("this.s", ["this"])


def test_the_full_name_of_a_model_is_offered(fakenets: str) -> None:
    """Where only its last part was given."""
    with pytest.raises(ArchitectureNotAllowedError) as refusal:
        resolve("Net", ["a_package_that_is_absent", "fakenets.nets."])
    assert refusal.value.remedy == "Did you mean fakenets.nets.Net?"
    with pytest.raises(ArchitectureNotAllowedError) as refusal:
        resolve("os", ["fakenets.nets"])
    assert "Did you mean" not in refusal.value.remedy


def test_a_close_name_is_offered(fakenets: str) -> None:
    """For a misspelt name a close one is offered."""
    with pytest.raises(ArchitectureNotAllowedError, match="Close to it: Net"):
        resolve("fakenets.nets.plain.Nett", [fakenets])


@given(st.text(max_size=60), st.sampled_from(["", "fakenets.nets.", "monai.networks.nets."]))
def test_no_text_gets_past(text: str, start: str) -> None:
    """Any text gives a refusal or a model's class."""
    try:
        found = resolve(start + text)
    except (ArchitectureNotAllowedError, OptionError):
        return
    assert isinstance(found, type)
    assert issubclass(found, nn.Module)


def test_a_folder_that_is_a_namespace_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A namespace package is refused, because its parts may be anywhere."""
    (tmp_path / "spread").mkdir()
    (tmp_path / "spread" / "nets.py").write_text("raise AssertionError('it ran')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ArchitectureNotAllowedError, match="not a package"):
        resolve("spread.nets.Net", ["spread"])

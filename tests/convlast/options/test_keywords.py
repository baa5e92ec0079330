"""Options as keywords of the verbs, and how every verb refuses wrong ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import nn

import convlast
from convlast.conversion.job import JobSettings
from convlast.errors import OptionError
from convlast.options import Options
from convlast.options.keywords import INSPECTED, ConversionKeywords, InspectionKeywords
from tests import builders

QUIET = Options(smoke="none")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint."""
    return builders.save(builders.one_convolution(), tmp_path_factory.mktemp("source") / "m.pt")


def test_the_keywords_are_the_options() -> None:
    """Type checkers and editors know each option, and each value of those that have a list."""
    hints = get_type_hints(ConversionKeywords)
    assert hints.keys() == Options.model_fields.keys()
    for name, field in Options.model_fields.items():
        if get_origin(field.annotation) is Literal:
            assert set(get_args(field.annotation)) <= set(get_args(hints[name])), name
            for value in get_args(hints[name]):
                Options.parse(**{name: value})
    assert tuple(InspectionKeywords.__annotations__) == INSPECTED


def test_no_option_has_the_name_of_another_keyword() -> None:
    """Otherwise it could not be given."""
    for verb in (convlast.convert, convlast.inspect):
        assert not inspect.signature(verb).parameters.keys() & Options.model_fields.keys()
    others = {"source", "target", "options", "keywords"}
    assert inspect.signature(convlast.convert).parameters.keys() - others == set(
        JobSettings.__annotations__
    ) - {"grown"}  # what convlast.addressed listens to


def test_an_option_can_be_a_keyword(source: Path, tmp_path: Path) -> None:
    """`convert(..., smoke="none")` is short for an Options object, and wins over one."""
    short = convlast.convert(source, tmp_path / "a.pt", smoke="none", select="conv.*")
    both = convlast.convert(
        source, tmp_path / "b.pt", Options(smoke="layers", select="conv.*"), smoke="none"
    )
    assert short.options == both.options == Options(smoke="none", select=("conv.*",))


def test_an_inspection_takes_those_that_it_uses(source: Path) -> None:
    """`inspect(..., select="conv.*")` selects, and an option without an effect is refused."""
    layers = convlast.inspect(source, select="conv.*", memory_format="contiguous_format").layers
    assert [layer.status for layer in layers] == ["already"]
    with pytest.raises(OptionError, match="There is no option 'smoke'"):
        convlast.inspect(source, smoke="none")  # type: ignore[call-arg]  # that is the point


WRONG: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "an unknown field": (lambda _, __: Options(**any_of(smok="none")), "smok.*Did you mean smoke?"),
    "a bad field": (lambda _, __: Options(**any_of(smoke="x")), "Option smoke has a bad value"),
    "an unknown limit": (
        lambda _, __: convlast.Limits(**any_of(max_tensor=1)), "max_tensor.*Did you mean max_tens",
    ),
    "a bad limit": (lambda _, __: convlast.Limits(max_tensors=-1), "Limit max_tensors has a bad"),
    "an unknown keyword": (
        lambda a, b: convlast.convert(a, b, **any_of(smok="none")), "smok.*Did you mean smoke?",
    ),
    "a misspelt keyword that is no option": (
        lambda a, b: convlast.convert(a, b, **any_of(devise="cpu")), "Did you mean device?",
    ),
    "a bad keyword": (lambda a, b: convlast.convert(a, b, **any_of(smoke="x")), "Option smoke has"),
    "a dict of options": (
        lambda a, b: convlast.convert(a, b, **any_of(options={"smoke": "none"})),
        r"options is a dict, where a convlast.Options is wanted. Write convlast.Options\(",
    ),
    "options by position": (lambda a, _: convlast.inspect(a, any_of("conv.*")), "options is a str"),
    "a dict of limits": (
        lambda a, b: convlast.convert(a, b, **any_of(limits={"max_tensors": 1})),
        r"limits is a dict, where a convlast.Limits is wanted. Write convlast.Limits\(",
    ),
    "a dict of limits for inspect": (
        lambda a, _: convlast.inspect(a, **any_of(limits={})), "limits is a dict",
    ),
    "a dict of limits for verify": (
        lambda a, _: convlast.verify(a, a, **any_of(limits={})), "limits is a dict",
    ),
    "a device": (lambda a, b: convlast.convert(a, b, QUIET, device="gpu"), "no device 'gpu'"),
    "no device": (lambda a, b: convlast.convert(a, b, QUIET, device=any_of(None)), "no device"),
    "one prefix": (
        lambda a, b: convlast.convert(a, b, QUIET, architecture_prefixes="os."),
        r"Write \['os.'\]",
    ),
    "a layout": (
        lambda _, __: convlast.convert_state_dict({}, any_of("channels_first")),
        "Option memory_format has a bad value",
    ),
}  # fmt: skip


def any_of(*value: Any, **values: Any) -> Any:
    """Hide a wrong type from the type checker."""
    return values or value[0]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_an_error_of_this_library(
    name: str, source: Path, tmp_path: Path
) -> None:
    """No error of pydantic's, and no AttributeError, reaches the caller."""
    call, message = WRONG[name]
    with pytest.raises(OptionError, match=message) as refusal:
        call(source, tmp_path / "target.pt")
    assert isinstance(refusal.value, convlast.ConvlastError)
    assert refusal.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_device_of_torch_is_understood(source: Path, tmp_path: Path) -> None:
    """`torch.device("cpu")` has a name."""
    device: Any = torch.device("cpu")
    report = convlast.convert(source, tmp_path / "target.pt", QUIET, device=device)
    assert report.environment.device == "cpu"


def test_one_pattern_for_a_state_dict() -> None:
    """A text is one pattern, and not a list of characters."""
    state_dict = nn.Conv3d(2, 4, 3).state_dict()
    assert convlast.convert_state_dict(state_dict, select="wei*")[0].status == "converted"

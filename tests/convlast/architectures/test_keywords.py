from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convlast.architectures.keywords import keywords_of
from convlast.errors import OptionError

Nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


def deep(levels: int) -> Any:
    """Return nested lists."""
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


REFUSED: dict[str, tuple[dict[Any, Any], str]] = {
    "a class": ({"net": nn.Conv3d}, "a type is not JSON"),
    "a function": ({"net": print}, "not JSON"),
    "bytes": ({"net": b"x"}, "not JSON"),
    "a subclass of str": ({"net": type("Text", (str,), {})("x")}, "not JSON"),
    "a name that is no text": ({"net": {1: 2}}, "names must be strings"),
    "a dunder": ({"__class__": 1}, "not the name of a public argument"),
    "a private name": ({"_net": 1}, "not the name of a public argument"),
    "no end of lists": ({"net": deep(40)}, "nested too deeply"),
    "too many characters": ({"net": "x" * (300 << 10)}, "longer than"),
    "weights": ({"weights": "DEFAULT"}, "would fetch weights"),
    "weights of a part": ({"weights_backbone": "DEFAULT"}, "would fetch weights"),
    "pretrained": ({"pretrained": True}, "would fetch weights"),
    "a pretrained part": ({"use_pretrained_backbone": 1}, "would fetch weights"),
    "what is no layer": ({"norm": "torch.nn.Parameter"}, "has no layer 'Parameter'"),
}


@pytest.mark.parametrize(("options", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_plain_is_refused(options: dict[str, Any], reason: str) -> None:
    """Options that are not JSON, are too large, or would fetch weights are refused."""
    with pytest.raises(OptionError, match=reason) as refusal:
        keywords_of(options)
    assert refusal.value.option == "architecture_options"


def test_weights_may_be_declined() -> None:
    """Options may say that no weights are to be fetched."""
    options = {"weights": None, "pretrained": False}
    assert keywords_of(options) == options


@pytest.mark.parametrize("text", ["torch.nn.Conv3d", "torch.nn.modules.conv.Conv3d"])
def test_layers_are_named(text: str) -> None:
    """The name of a class of torch.nn becomes the class, at any depth."""
    assert keywords_of({"a": {"b": [text]}}) == {"a": {"b": [nn.Conv3d]}}


def test_other_names_are_texts_like_any_other() -> None:
    """Only names of layers are looked up; other strings stay strings."""
    options = {"a": "torch.nn.functional.relu", "b": "os.system", "c": "torch.load"}
    assert keywords_of(options) == options


@given(st.dictionaries(st.from_regex(r"[a-v][a-z0-9_]{0,8}", fullmatch=True), Nested, max_size=4))
def test_plain_options_stay_as_they_are(options: dict[str, Any]) -> None:
    """Plain JSON values are returned unchanged."""
    assert keywords_of(options) == options


def test_numbers_beyond_json_are_numbers() -> None:
    """Infinity, which Python's JSON accepts, is kept."""
    assert keywords_of({"a": math.inf}) == {"a": math.inf}

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from convlast.architectures.matching import MAX_LISTED, PREFIXES, match
from convlast.errors import ArchitectureMismatchError

KEYS = st.lists(
    st.from_regex(r"[a-d]{1,2}(\.[0-9a-d]{1,2}){0,2}", fullmatch=True), min_size=1, unique=True
)


def tensors(*keys: str) -> dict[str, torch.Tensor]:
    """Return a small tensor for each key."""
    return {key: torch.zeros(2) for key in keys}


@given(KEYS, st.lists(st.sampled_from(PREFIXES), max_size=3), st.booleans())
def test_the_prefixes_of_wrappers_are_removed(
    keys: list[str], prefixes: list[str], is_compiled: bool
) -> None:
    """The prefixes of wrappers, in any order, are removed from all keys."""
    start = "".join(prefixes) + ("_orig_mod." if is_compiled else "")

    found = match("net", tensors(*keys), tensors(*(start + key for key in keys)))

    assert found == {key: start + key for key in keys}


@given(KEYS, KEYS)
def test_a_key_more_or_less_is_refused(keys: list[str], others: list[str]) -> None:
    """The match is strict: all missing and unexpected keys are named."""
    assume(set(keys) != set(others))

    with pytest.raises(ArchitectureMismatchError) as refusal:
        match("net", tensors(*keys), tensors(*others))

    missing, unexpected = (refusal.value.details[name] for name in ("missing", "unexpected"))
    assert isinstance(missing, list)
    assert isinstance(unexpected, list)
    assert set(missing[:MAX_LISTED]) <= set(keys) - set(others)
    assert set(unexpected[:MAX_LISTED]) <= set(others) - set(keys)
    assert missing or unexpected


def test_a_compiled_part_is_found() -> None:
    """The keys of a submodule that torch.compile has wrapped are found."""
    found = match("net", tensors("a.b", "c"), tensors("a._orig_mod.b", "c"))
    assert found == {"a.b": "a._orig_mod.b", "c": "c"}


def test_a_model_that_is_called_so_itself_keeps_its_prefix() -> None:
    """A prefix is removed only if more keys match without it."""
    assert match("net", tensors("model.a"), tensors("model.a")) == {"model.a": "model.a"}


def test_another_shape_is_refused() -> None:
    """A tensor of another shape is refused, and both shapes are named."""
    with pytest.raises(ArchitectureMismatchError, match="of another shape") as refusal:
        match("net", {"a": torch.zeros(2)}, {"a": torch.zeros(3)})
    assert refusal.value.details["shapes"] == ["a: [3] in the file, [2] in the model"]


def test_a_tied_tensor_may_stand_once() -> None:
    """A tensor that the model has twice may be in the file once, as in safetensors."""
    tied = torch.zeros(2)
    assert match("net", {"a": tied, "b": tied}, {"b": torch.zeros(2)}) == {"b": "b"}


def test_an_old_checkpoint_counts_no_batches() -> None:
    """An old checkpoint may lack BatchNorm's counter, which eval mode does not read."""
    expected = tensors("norm.weight", "norm.num_batches_tracked")
    assert match("net", expected, tensors("norm.weight")) == {"norm.weight": "norm.weight"}


def test_a_refusal_is_bounded() -> None:
    """An error about many or long keys is bounded."""
    keys = [f"{'x' * 10_000}.{number}" for number in range(1000)]
    with pytest.raises(ArchitectureMismatchError) as refusal:
        match("net", tensors("a"), tensors(*keys))
    assert len(str(refusal.value)) < 2000
    unexpected = refusal.value.details["unexpected"]
    assert isinstance(unexpected, list)
    assert unexpected[-1] == "and 980 more"
    assert max(map(len, unexpected)) == 200

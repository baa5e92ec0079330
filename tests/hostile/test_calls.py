"""What a pickle calls, with what, and what it hands over: each attack is refused, and at once."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import convlast
from convlast.errors import ConvlastError
from convlast.options import Options
from tests.hostile import (
    calls_with_other_arguments,
    compares_slowly,
    hands_over_again,
    hides_methods,
    multiplies_extents,
)
from tests.hostile.multiplies_extents import BEYOND, Geometry

QUIET = Options(smoke="none")
DEADLINE_S = 20
"""Which only what multiplies would miss."""

OTHER_ARGUMENTS: dict[str, tuple[Callable[[], bytes], str]] = {
    **{
        f"a text in {codec}": (
            lambda codec=codec: calls_with_other_arguments.encoding(codec),  # type: ignore[misc]
            "_codecs.encode",
        )
        for codec in ("punycode", "idna", "utf-32", "latin-1", "zlib")
    },
    "a bytearray of a number": (
        calls_with_other_arguments.a_bytearray_of_a_number, "builtins.bytearray",
    ),
    "a tensor of numbers": (calls_with_other_arguments.a_tensor_of_numbers, "torch.Tensor"),
    "an old tensor of numbers": (
        lambda: calls_with_other_arguments.a_tensor_of_numbers("torch.FloatTensor"),
        "torch.FloatTensor",
    ),
    "a new tensor of numbers": (
        calls_with_other_arguments.a_new_tensor_of_numbers, "torch.Tensor",
    ),
    "a storage of a number": (
        calls_with_other_arguments.a_storage_of_a_number, "torch.storage.UntypedStorage",
    ),
    "a set of a text": (calls_with_other_arguments.a_set_of_a_text, "builtins.set"),
    "a counter of a list": (calls_with_other_arguments.a_counter_of_a_list, "Counter"),
    "a size of a text": (calls_with_other_arguments.a_size_of_a_text, "torch.Size"),
    "a complex number of a text": (
        calls_with_other_arguments.a_complex_number_of_a_text, "builtins.complex",
    ),
    "an ordered dict of a dict": (
        calls_with_other_arguments.an_ordered_dict_of_a_dict, "OrderedDict",
    ),
    "a tensor of a text": (calls_with_other_arguments.a_tensor_of_a_text, "_rebuild_tensor_v2"),
    "a parameter of a number": (
        calls_with_other_arguments.a_parameter_of_a_number, "torch.nn.parameter.Parameter",
    ),
    "a meta tensor of a function": (
        calls_with_other_arguments.a_meta_tensor_of_a_function, "_rebuild_meta_tensor_no_storage",
    ),
    "a conjugation of anything": (
        calls_with_other_arguments.a_conjugation_of_anything, "_rebuild_tensor_v2",
    ),
    "any function through another": (
        calls_with_other_arguments.any_function_through_another, "_rebuild_from_type_v2",
    ),
    "a call in the preamble": (
        calls_with_other_arguments.a_call_in_the_preamble, "builtins.bytearray",
    ),
    "an older name": (calls_with_other_arguments.under_an_older_name, "UserDict.Counter"),
    "an attribute of a set": (calls_with_other_arguments.an_attribute_of_a_set, "a value"),
    "a value that is called": (calls_with_other_arguments.a_value_that_is_called, "a value"),
}  # fmt: skip


def refusal_of(data: bytes, folder: Path) -> ConvlastError:
    """Return the error that a conversion raises soon, whose text is short and says what to do."""
    source = folder / "source.pt"
    source.write_bytes(data)
    began_s = time.process_time()
    with pytest.raises(ConvlastError) as refusal:
        convlast.convert(source, folder / "target.pt", QUIET, allow_programs=True)
    assert time.process_time() - began_s < DEADLINE_S
    assert len(str(refusal.value)) < 1000
    assert list(folder.iterdir()) == [source]
    return refusal.value


@pytest.mark.parametrize("attack", OTHER_ARGUMENTS)
def test_a_name_that_is_called_in_another_way_is_refused(attack: str, tmp_path: Path) -> None:
    """By its name, before anything is called."""
    build, name = OTHER_ARGUMENTS[attack]
    error = refusal_of(build(), tmp_path)
    assert error.code == "unsafe-checkpoint", error
    assert name in str(error)
    assert "torch.save" in error.remedy


SLOW_KEYS: dict[str, Callable[[], bytes]] = {
    "frozen sets in frozen sets": compares_slowly.frozen_sets,
    "fractions": compares_slowly.fractions_of_one_hash,
    "UUIDs": compares_slowly.numbers_of_one_hash,
    "long paths": compares_slowly.long_paths,
    "long bytes": compares_slowly.long_bytes,
    "long text of NumPy": compares_slowly.long_text_of_numpy,
}


@pytest.mark.parametrize("keys", SLOW_KEYS)
def test_keys_that_take_long_to_compare_are_refused(keys: str, tmp_path: Path) -> None:
    """Before torch compares any of them."""
    error = refusal_of(SLOW_KEYS[keys](), tmp_path)
    assert error.code == "malformed-checkpoint", error
    assert "too large to compare" in str(error)


MISUSED_VALUES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a huge fraction": (
        lambda: compares_slowly.a_number_that_is_spelt_short("1e999999999"), "fractions.Fraction",
    ),
    "a tiny fraction": (
        lambda: compares_slowly.a_number_that_is_spelt_short("1e-99999999"), "fractions.Fraction",
    ),
    "flags of many bits": (compares_slowly.flags_that_are_remembered, "re.RegexFlag"),
    "a UUID that changes": (compares_slowly.a_key_that_changes, "uuid.UUID"),
    "a UUID without a number": (compares_slowly.a_uuid_without_a_number, "uuid.UUID"),
    "a dtype that changes": (compares_slowly.a_dtype_that_changes, "numpy.dtype"),
    "items of no bytes": (
        lambda: compares_slowly.an_array_of_nothing((10**12,), "U0", 0), "numpy.ndarray",
    ),
    "extents beside a zero": (
        lambda: compares_slowly.an_array_of_nothing((1 << 62, 1 << 62, 0), "f8", 8),
        "numpy.ndarray",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", MISUSED_VALUES)
def test_a_value_that_is_more_than_it_says_is_refused(attack: str, tmp_path: Path) -> None:
    """By its name, before it is made."""
    build, name = MISUSED_VALUES[attack]
    error = refusal_of(build(), tmp_path)
    assert error.code == "unsafe-checkpoint", error
    assert name in str(error)


@pytest.mark.parametrize("name", ["numpy.ndarray", "datetime.datetime", "uuid.UUID"])
def test_a_class_is_a_value_too(name: str, tmp_path: Path) -> None:
    """What is looked for on its objects is not looked for on the class itself."""
    named = calls_with_other_arguments.a_class_as_a_value(name)
    source = tmp_path / "source.pt"
    source.write_bytes(named)
    report = convlast.convert(source, tmp_path / "target.pt", QUIET, device="cpu")
    assert report.verdict == "passed"


@pytest.mark.parametrize("copied", hands_over_again.COPIES)
def test_what_is_handed_over_again_and_again_is_refused(copied: str, tmp_path: Path) -> None:
    """With how much it is, and before any of it is copied."""
    data = hands_over_again.COPIES[copied]()
    tracemalloc.start()
    try:
        error = refusal_of(data, tmp_path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.code == "unsafe-checkpoint", error
    assert "again and again" in str(error)
    assert "torch.save" in error.remedy
    assert peak_bytes < 64 << 20


def test_a_shape_of_thousands_of_extents_is_refused(tmp_path: Path) -> None:
    """However often it is handed over."""
    assert refusal_of(hands_over_again.shapes(), tmp_path).code == "malformed-checkpoint"


def test_a_storage_whose_name_has_no_end_is_refused(tmp_path: Path) -> None:
    """It would be written out for each reference."""
    assert refusal_of(hands_over_again.long_names(), tmp_path).code == "malformed-checkpoint"


@pytest.mark.parametrize("name", ["items", "keys", "get", "copy", "__reduce_ex__", "__class__"])
def test_a_state_dict_whose_method_is_hidden_is_refused(name: str, tmp_path: Path) -> None:
    """Its own methods would be what the file says."""
    error = refusal_of(hides_methods.of_a_state_dict(name), tmp_path)
    assert error.code == "unsafe-checkpoint", error
    assert f"OrderedDict is given the attribute '{name}'" in str(error)


@pytest.mark.parametrize(
    "build",
    [
        hides_methods.of_a_parameter,
        hides_methods.of_a_parameter_by_slots,
        hides_methods.of_a_tensor,
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "stride", "detach", "data", "shape", "is_contiguous", "untyped_storage", "__reduce_ex__",
        "__torch_function__", "__tensor_flatten__", "_backward_hooks",
    ],
)  # fmt: skip
def test_a_tensor_whose_method_is_hidden_is_refused(
    build: Callable[[str], bytes], name: str, tmp_path: Path
) -> None:
    """In each of the ways in which tensors get attributes."""
    error = refusal_of(build(name), tmp_path)
    assert error.code == "unsafe-checkpoint", error
    assert f"is given the attribute '{name}'" in str(error)


@pytest.mark.parametrize(
    "build",
    [
        lambda: hides_methods.by_pairs("items"),
        hides_methods.metadata_that_is_none,
        hides_methods.a_name_that_is_a_number,
    ],
)
def test_other_states_of_a_state_dict_are_refused(
    build: Callable[[], bytes], tmp_path: Path
) -> None:
    """Its attributes are a dict with names for keys, and its versions are one too."""
    error = refusal_of(build(), tmp_path)
    assert error.code == "unsafe-checkpoint", error
    assert "OrderedDict is given" in str(error)


@pytest.mark.parametrize(
    "build",
    [
        multiplies_extents.in_a_torch_file,
        multiplies_extents.in_an_old_torch_file,
        multiplies_extents.in_a_script,
        multiplies_extents.in_a_program,
    ],
)
@pytest.mark.parametrize("said", BEYOND)
def test_extents_that_cannot_be_multiplied_are_refused(
    build: Callable[[Geometry], bytes], said: str, tmp_path: Path
) -> None:
    """In each container that states strides."""
    error = refusal_of(build(BEYOND[said]), tmp_path)
    assert error.code == "malformed-checkpoint", error
    assert "PyTorch cannot" in str(error)


@pytest.mark.parametrize("said", [said for said, where in BEYOND.items() if not where.offset])
def test_meta_tensors_have_extents_that_can_be_multiplied(said: str, tmp_path: Path) -> None:
    """Though they have no bytes; only offsets are not written for them."""
    error = refusal_of(multiplies_extents.on_the_meta_device(BEYOND[said]), tmp_path)
    assert error.code == "malformed-checkpoint", error


@pytest.mark.parametrize("said", ["a product beside a zero", "more than 64 extents"])
def test_safetensors_has_extents_that_can_be_multiplied(said: str, tmp_path: Path) -> None:
    """A tensor without bytes may have any beside its zero."""
    shape = (0, *BEYOND[said].shape)
    error = refusal_of(multiplies_extents.in_safetensors(Geometry(shape, ())), tmp_path)
    assert error.code == "malformed-checkpoint", error


def test_modules_may_share_what_they_hold(tmp_path: Path) -> None:
    """A list that thousands of them refer to is looked through once, and is nothing bad."""
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    source.write_bytes(hands_over_again.modules_of_one_value())
    assert convlast.convert(source, target, QUIET).verdict == "passed"

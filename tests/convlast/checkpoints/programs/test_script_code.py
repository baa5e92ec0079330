"""Convolutions are found in a program's code, in one pass over it."""

from __future__ import annotations

import pytest

from convlast.checkpoints.programs.script_code import calls_in
from tests.growth import check_growth, shapes

PIECES = ("torch.conv3d(", "torch._convolution(", "a", ",", "[", ")", "1", '"', "'", "\\", " ")


@pytest.mark.parametrize(
    ("code", "weights"),
    [
        ("torch.conv3d(x, w, None)", ["w"]),
        ("torch.conv3d(torch.conv3d(x, v, None), w, None)", ["w", "v"]),
        ("torch.conv3d(x, w, None, [1, 1, 1], [0, 0, 0])", ["w"]),
        ('torch.warn("torch.conv3d(x, no, None) ([{"); torch.conv3d(x, w, None)', ["w"]),
        ("torch.warn('it\\'s ('); torch.conv3d(x, w, None)", ["w"]),
        (") ] torch.conv3d(x, w, None)", ["w"]),
        ("torch.conv3d(x, w)", []),
        ("torch.conv3d(x, w, None", []),
        ("mytorch.conv3d(x, w, None)", []),
    ],
)
def test_each_call_is_found_once(code: str, weights: list[str]) -> None:
    """Calls in calls, after strings with brackets and after stray brackets are found in order."""
    assert [call.weight for call in calls_in(code)] == weights


def test_what_a_call_says_is_read() -> None:
    """Stride, padding, dilation and groups are read; arguments that are too long are not."""
    (call,) = calls_in("torch.conv3d(x, w, None, [2, 2, 2], [1, 1, 1], [1, 1, 1], 4)")
    assert call.declaration.groups == 4
    assert call.declaration.hyperparameters is not None
    assert call.declaration.hyperparameters.stride == (2, 2, 2)
    long = "[1, 1, 1" + " " * 300 + "]"
    (unknown,) = calls_in(f"torch.conv3d(x, w, None, {long})")
    assert unknown.declaration.hyperparameters is None


def test_no_code_takes_longer_than_it_is_long() -> None:
    """However calls, brackets and strings are nested, time grows no faster than the code."""
    for shape in shapes(PIECES):
        check_growth(calls_in, shape)

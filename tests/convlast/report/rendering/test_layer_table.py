from __future__ import annotations

import re

import pytest

from convlast.report.rendering import layer_table
from tests.convlast.report.rendering import building


@pytest.mark.parametrize(
    ("shape", "strides", "order"),
    [
        ([64, 32, 3, 3, 3], [864, 27, 9, 3, 1], "NCDHW"),
        ([64, 32, 3, 3, 3], [864, 1, 288, 96, 32], "NDHWC"),
        ([32, 1, 3, 3, 3], [27, 27, 9, 3, 1], "NCDHW"),
        ([32, 1, 3, 3, 3], [27, 1, 9, 3, 1], "NDHWC"),
    ],
)
def test_the_innermost_dimension_comes_last(
    shape: list[int], strides: list[int], order: str
) -> None:
    """Dimensions are in the order of their strides; of two that are equal, that with 1 is inner."""
    assert layer_table.order_of(shape, strides) == order


def test_a_bar_is_longer_the_larger_the_error() -> None:
    """Bars grow with the logarithm of the error, and reach the line at the threshold."""
    layers = building.large(500).layers
    widths, lines = [], set()
    for layer in (layers[0], layers[9], layers[99]):
        assert layer.smoke is not None
        layer.smoke.parity[1].relative = 0.0
    drawn = layer_table.draw(layers)
    rows = re.findall(r"<tr[ >].*?</tr>", drawn)[1:]
    for index in (0, 9, 99):
        widths += [int(found) for found in re.findall(r'<rect[^>]* width="(\d+)"', rows[index])]
        lines |= set(re.findall(r'<path d="M(\d+) ', rows[index]))
    assert len(widths) == 3  # an error of 0 has no bar
    assert widths[1] - widths[0] == pytest.approx(widths[2] - widths[1], abs=1)
    assert max(widths) < min(map(int, lines))


def test_an_error_that_is_not_finite_fills_the_row() -> None:
    """An error that is not finite fills the axis, as a warning if fp16 alone is to blame."""
    drawn = layer_table.draw(building.recorded().layers)
    assert '<rect y="1" class="caution" width="150"' in drawn
    assert 'class="bad"' not in drawn
    assert '<rect y="11" class="bad"' in layer_table.draw(building.failed().layers)
    assert "Error: fp16 not finite, layout 0" in drawn


def test_rows_without_a_problem_are_collapsible_if_there_are_many() -> None:
    """Of 500 layers those with a problem and the five closest to their threshold stay visible."""
    assert 'class="fine"' not in layer_table.draw(building.recorded().layers)
    rows = re.findall(r"<tr[ >].*?</tr>", layer_table.draw(building.large(500).layers))[1:]
    shown = [index for index, row in enumerate(rows) if 'class="fine"' not in row]
    assert shown == [494, 495, 496, 497, 498, 499]


def test_layers_that_were_not_run_have_no_column_of_errors() -> None:
    """Without a comparison there is neither the column nor its legend."""
    layers = [layer.model_copy(update={"smoke": None}) for layer in building.recorded().layers]
    assert "Error in fp16" not in layer_table.draw(layers) + layer_table.legend(layers)


def test_each_picture_has_words() -> None:
    """Each drawing has a role and a title or label, and the numbers stand in the table as well."""
    drawn = layer_table.draw(building.recorded().layers)
    for picture in re.findall(r"<svg[^>]*>", drawn):
        assert 'role="img"' in picture
    assert drawn.count("<svg") == drawn.count("<title>")
    assert "<small>fp16 3.1e-4 · layout 0</small>" in drawn
    assert 'aria-label="NDHWC, C innermost"' in drawn

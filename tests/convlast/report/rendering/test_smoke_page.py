"""The sections of the page about the smoke: pictures, and tables of what needs attention."""

from __future__ import annotations

from convlast.report.rendering.smoke_page import MAX_ROWS, sections
from convlast.report.smoke import Activation
from tests.convlast.report.rendering.drawings.samples import (
    range_smoke,
    smoke_with,
    time_smoke,
    whole_smoke,
)


def activations(number: int, absmax: float) -> list[Activation]:
    """Return the outputs of modules with this largest magnitude."""
    return [
        Activation(
            module=f"m{index}", kind="Conv3d", absmax=absmax, headroom=65504 / absmax,
            overflow=0, underflow_share=0.000_002,
        )
        for index in range(number)
    ]  # fmt: skip


def test_each_part_of_the_smoke_is_drawn() -> None:
    """The chain, the times, the tensors and the activations have a picture each."""
    pictures = [markup.count('role="img"') for _, markup in sections(whole_smoke())]
    titles = [title for title, _ in sections(whole_smoke())]
    assert dict(zip(titles, pictures, strict=True)) == {
        "The whole model in fp16": 0,
        "The layout through the model": 1,
        "Times": 1,
        "Values against fp16's range": 1,
        "Activations against fp16's range": 1,
    }


def test_only_what_is_near_a_limit_is_listed() -> None:
    """The picture has all modules, the table those near a limit, and a sentence counts the rest."""
    smoke = smoke_with(activations=activations(MAX_ROWS + 5, 60_000.0) + activations(9, 1.0))
    page = dict(sections(smoke))["Activations against fp16's range"]
    assert page.count("<tr>") == MAX_ROWS + 1
    assert "5 more modules close to a limit and 9 other modules with room in fp16" in page


def test_a_model_with_room_everywhere_has_no_table() -> None:
    """Where nothing is near a limit there is a picture and a sentence."""
    page = dict(sections(smoke_with(activations=activations(9, 1.0))))
    drawn = page["Activations against fp16's range"]
    assert "<table" not in drawn
    assert "9 modules with room in fp16: see the JSON report." in drawn


def test_numbers_are_written_as_people_read_them() -> None:
    """A small share is not written as none, and a spread that nobody measured is left out."""
    smoke = smoke_with(activations=activations(1, 60_000.0))
    assert "fewer than 0.1 %" in dict(sections(smoke))["Activations against fp16's range"]
    times = dict(sections(time_smoke(representative=False)))["Times"]
    assert "± 0.00" not in times
    assert "0.86" in times


def test_tensors_without_magnitudes_are_not_drawn() -> None:
    """A smoke that looked at no tensor has no section on them."""
    assert dict(sections(smoke_with(scope="model"))).keys() == {"The whole model in fp16"}
    assert "norm.running_var" in dict(sections(range_smoke()))["Values against fp16's range"]

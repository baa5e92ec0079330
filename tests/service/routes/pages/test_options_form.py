from __future__ import annotations

import re

from convlast.options import Options
from service.routes.pages import options_form


def test_every_option_has_a_field_with_its_help() -> None:
    """Each option is a field with a label and its own description."""
    form = options_form.render()
    for name in Options.model_fields:
        assert f'name="{name}"' in form
        assert f'<label for="option-{name}">' in form
        assert f'aria-describedby="help-{name}"' in form
        assert f'id="help-{name}"' in form
    assert "undoes a conversion" in form


def test_the_choices_of_an_option_begin_with_its_default() -> None:
    """An option with a few values is a list of them; its default is sent as no value."""
    form = options_form.render()
    choices = re.search(r'<select id="option-smoke".*?</select>', form)
    assert choices
    assert re.findall(r"<option value=\"(\w*)\">(.*?)</option>", choices[0]) == [
        ("", "auto (default)"),
        ("model", "model"),
        ("layers", "layers"),
        ("none", "none"),
    ]


def test_other_options_show_their_default() -> None:
    """A field for text shows what holds if it stays empty."""
    form = options_form.render()
    assert re.search(r'<input id="option-select"[^>]* placeholder="all"', form)
    assert re.search(r'<input id="option-smoke_seconds"[^>]* placeholder="60.0"', form)
    assert re.search(r'<input id="option-min_speedup"[^>]* inputmode="decimal"', form)


def test_yes_or_no_is_a_choice() -> None:
    """Nobody need know the words for it."""
    form = options_form.render()
    choices = re.search(r'<select id="option-tensor_digests".*?</select>', form)
    assert choices
    assert re.findall(r"<option value=\"(\w*)\">(.*?)</option>", choices[0]) == [
        ("", "no (default)"),
        ("true", "yes"),
    ]


def test_the_common_options_exist() -> None:
    """The options that are always shown are options."""
    assert set(options_form.COMMON) <= Options.model_fields.keys()

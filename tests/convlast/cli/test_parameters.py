from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from convlast.cli import app
from convlast.cli.digests import Shown
from convlast.cli.execution import Execution, Trust
from convlast.cli.outcome import Output
from convlast.cli.parameters import METAVARS, REPEATABLE, SHORT, Only, flattened
from convlast.cli.provenance import Provenance
from convlast.cli.remote import Service
from convlast.errors import OptionError
from convlast.options import Limits, Options
from convlast.options.keywords import INSPECTED
from convlast.report.gates import Gates
from service.uploads.sources import OPTION_NAMES

MODELS: tuple[type[BaseModel], ...] = (
    Options,
    Output,
    Gates,
    Execution,
    Service,
    Limits,
    Provenance,
)


def options_of(command: str) -> dict[str, Any]:
    """Return the options of a command by their long name."""
    commands: Any = typer.main.get_command(app)
    return {parameter.opts[0]: parameter for parameter in commands.commands[command].params}


def parsed(*arguments: str) -> tuple[Options, Limits]:
    """Run a command that takes the two models, and return what it was given."""
    taken: list[tuple[Options, Limits]] = []
    probe = typer.Typer()

    @probe.command()
    @flattened
    def run(options: Options, limits: Limits) -> None:
        taken.append((options, limits))

    result = CliRunner().invoke(probe, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return taken[0]


def test_convert_has_an_option_for_each_field_and_no_other() -> None:
    """The options of `convert` are the fields of the models, with dashes, and `--output`."""
    fields = {
        f"--{(field.alias or name).replace('_', '-')}"
        for model in MODELS
        for name, field in model.model_fields.items()
    }

    assert set(options_of("convert")) == fields | {"source", "--output", "--force", "--detach"}


def test_each_choice_of_a_field_is_shown() -> None:
    """The metavar of an option lists exactly the values that its field takes."""
    options = options_of("convert")

    for name, field in Options.model_fields.items():
        if get_origin(field.annotation) is Literal:
            shown = options[f"--{name.replace('_', '-')}"].metavar
            assert shown.split("|") == list(get_args(field.annotation))


def test_what_is_said_of_single_fields_names_fields_that_exist() -> None:
    """Each entry of the tables belongs to a field that exists."""
    models: tuple[type[BaseModel], ...] = (*MODELS, Shown)
    fields = {name for model in models for name in model.model_fields}

    assert METAVARS.keys() <= fields
    assert fields >= REPEATABLE
    assert fields >= SHORT.keys()


def test_no_option_gives_the_defaults_of_the_models() -> None:
    """Options that are not given have the model's defaults."""
    assert parsed() == (Options(), Limits())


def test_every_option_reaches_its_field() -> None:
    """Each option sets the field of its name."""
    options, limits = parsed(
        "--memory-format=channels_last",
        "--select=encoder.*",
        "--select=a.weight,b.weight",
        "--container=torch",
        "--dtype=float16",
        "--smoke=model",
        "--architecture=torchvision.models.video.r3d_18",
        '--architecture-options={"num_classes": 4}',
        "--input-shape=1,3,8,64,64",
        "--on-failure=report",
        "--min-speedup=1.5",
        "--max-tensors=7",
    )

    assert options == Options(
        memory_format="channels_last_3d",
        select=("encoder.*", "a.weight", "b.weight"),
        container="torch",
        dtype="float16",
        smoke="model",
        architecture="torchvision.models.video.r3d_18",
        architecture_options={"num_classes": 4},
        input_shape=(1, 3, 8, 64, 64),
        on_failure="report",
        min_speedup=1.5,
    )
    assert limits == Limits(max_tensors=7)


def test_a_command_may_take_some_fields_of_a_model() -> None:
    """With `Only` the other fields are no options, and have their defaults."""
    taken: list[Options] = []
    probe = typer.Typer()

    @probe.command()
    @flattened
    def run(options: Annotated[Options, Only(("select", "smoke"))]) -> None:
        taken.append(options)

    runner = CliRunner()
    assert runner.invoke(probe, ["--smoke=none", "--select=a,b"]).exit_code == 0
    assert taken == [Options(smoke="none", select=("a", "b"))]
    assert runner.invoke(probe, ["--dtype=float16"]).exit_code == 2


def test_inspect_has_the_options_that_an_inspection_takes() -> None:
    """They are those of the service, and say what a conversion would do."""
    fields = {
        f"--{(field.alias or name).replace('_', '-')}"
        for model in (Output, Trust, Service, Limits)
        for name, field in model.model_fields.items()
    }
    inspected = {f"--{name.replace('_', '-')}" for name in INSPECTED}
    assert set(options_of("inspect")) == fields | inspected | {"source", "--fail-on"}
    assert OPTION_NAMES["inspect"] == list(INSPECTED)


def test_bad_value_of_an_option_is_the_models_own_refusal() -> None:
    """The message for a bad value is that of `Options`, as for HTTP."""
    with pytest.raises(OptionError, match="memory_format has a bad value"):
        parsed("--memory-format=nhwc")

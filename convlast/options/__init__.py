"""What a caller can ask for, and what a file may cost: the same names on every face."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from convlast.byte_size import Bytes
from convlast.options.asked import Asked, unknown

MemoryFormat = Literal["channels_last_3d", "contiguous_format"]
Dtype = Literal["keep", "float16"]


MAX_WILDCARD_CHARS = 4096
"""Of the patterns for layers that are tried on each name, together."""

MAX_DEPTH = 32
"""Of lists and objects in each other, in JSON."""


def _split(value: object) -> object:
    """Read `"1,8,16,16,16"` or `"all"` as the list it stands for."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _parse(value: object) -> object:
    """Read a JSON text as the value it stands for, if all of it can be written again."""
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
        _refuse_depth(parsed)
        json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError:
        raise
    except UnicodeError:
        raise ValueError("a text in it is half a surrogate pair") from None
    except ValueError:  # NaN, an infinity, or an integer of thousands of digits
        raise ValueError("a number in it is out of range") from None
    return parsed


def _refuse_depth(value: object) -> None:
    """Refuse what others, who write and read it as JSON again, would find nested too deeply."""
    holders: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        parts = (each.values() if isinstance(each, dict) else each for each in holders)
        holders = [part for held in parts for part in held if isinstance(part, dict | list)]
    if holders:
        raise RecursionError


def has_wildcard(pattern: str) -> bool:
    """Say whether a pattern is more than one name.

    >>> has_wildcard("encoder.*"), has_wildcard("encoder.0.weight")
    (True, False)
    """
    return not {"*", "?", "["}.isdisjoint(pattern)


class Options(Asked):
    """How a checkpoint is converted; every field is an option of the command line and of HTTP."""

    memory_format: Annotated[
        MemoryFormat,
        BeforeValidator(lambda value: "channels_last_3d" if value == "channels_last" else value),
    ] = "channels_last_3d"
    """The layout of the convolution weights. `channels_last` is an alias of `channels_last_3d`;
    `contiguous_format` undoes a conversion."""

    select: Annotated[tuple[str, ...], BeforeValidator(_split)] = ("all",)
    """Which layers to convert: `all`; `fastest`, which measures on this device and needs a GPU
    and a model to run; or patterns (fnmatch, on the whole key). A pattern that matches nothing
    is an error."""

    container: Literal["auto", "torch", "safetensors"] = "auto"
    """The kind of file to write. `auto` keeps the kind of the input if it can hold strides;
    torch legacy and safetensors become torch zip. In a model folder each file keeps its kind,
    and only `auto` is allowed."""

    dtype: Dtype = "keep"
    """`float16` also casts the state dict. The report lists what overflows, underflows or
    cannot be cast. Not for model folders."""

    smoke: Literal["auto", "model", "layers", "none"] = "auto"
    """The fp16 test run: of the whole `model`, of each of the `layers`, or `none`. `auto` runs
    the model if it can be built, and each layer otherwise."""

    architecture: str | None = None
    """The model to build for the test run, such as `torchvision.models.video.r3d_18`."""

    architecture_options: Annotated[dict[str, Any], BeforeValidator(_parse)] = Field(
        default_factory=dict
    )
    """Keyword arguments for the architecture, as JSON."""

    entry_point: Literal["auto", "forward", "encode", "decode"] = "auto"
    """The method of the model to run. `auto` means `forward`."""

    input_shape: Annotated[
        tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] | None,
        BeforeValidator(_split),
    ] = None
    """N,C,D,H,W of the smoke input. For a smoke of layers C is each layer's own."""

    smoke_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 60.0
    """The most seconds for the fp16 test run, and for finding an input for it. The report says
    what was not run."""

    on_failure: Literal["reject", "report"] = "reject"
    """If the verdict is a failure: `reject` writes no artifact, `report` writes it all the
    same."""

    on_unreadable: Literal["copy", "reject"] = "copy"
    """If a file of a model folder looks like a checkpoint and cannot be opened: `copy` passes it on
    as it is, with a warning; `reject` refuses the folder. A shard that an index names, and a file
    beside which nothing can be converted, is refused either way."""

    min_speedup: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Fail if the measured speed-up is below this. If it cannot be measured, that is a finding.
    Needs a GPU and a model to run."""

    tensor_digests: bool = False
    """The report also has a digest of all tensors that does not depend on their layout, of the
    input and of the artifact: the root that `convlast digest` prints."""

    @field_validator("select")
    @classmethod
    def _is_one_kind_of_selection(cls, select: tuple[str, ...]) -> tuple[str, ...]:
        if not select or not all(select):
            raise ValueError("name 'all', 'fastest', or at least one pattern")
        if len(select) > 1 and {"all", "fastest"} & set(select):
            raise ValueError("'all' and 'fastest' stand alone; patterns go without them")
        if sum(len(pattern) for pattern in select if has_wildcard(pattern)) > MAX_WILDCARD_CHARS:
            raise ValueError(
                f"patterns with wildcards may have {MAX_WILDCARD_CHARS:,} characters together; "
                "names may be any number"
            )
        return select

    @field_validator("input_shape")
    @classmethod
    def _is_small_enough(cls, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is not None and max(shape) > 1 << 16:
            raise ValueError("each extent is at most 65536")
        return shape

    @model_validator(mode="after")
    def _has_a_model_to_describe(self) -> Self:
        if self.architecture_options and self.architecture is None:
            raise ValueError("architecture_options needs an architecture")
        return self

    @classmethod
    def parse(cls, **values: object) -> Options:
        """Build options from text or values, as the command line and HTTP do.

        Raises:
            OptionError: If a name is unknown or a value is not allowed.

        >>> Options.parse(memory_format="channels_last", input_shape="1,8,16,16,16").input_shape
        (1, 8, 16, 16, 16)
        """
        return cls(**values)

    @classmethod
    def combined(
        cls,
        options: Options | None,
        keywords: Mapping[str, object],
        *,
        names: Iterable[str] | None = None,
        others: Iterable[str] = (),
    ) -> Options:
        """Return options of which keywords replace some.

        Args:
            options: The options; None for the defaults.
            keywords: New values, by name.
            names: The options that may be given as keywords; None for all.
            others: The other keywords of the function that was called, one of which may be meant.

        Raises:
            OptionError: If a name is unknown, or a value is not allowed.

        >>> Options.combined(Options(smoke="none"), {"select": "encoder.*"}).select
        ('encoder.*',)
        """
        given = cls() if options is None else cls.require(options, "options")
        known = list(names or cls.model_fields)
        for name in keywords:
            if name not in known:
                raise unknown(name, known, others=others)
        if not keywords:
            return given
        return cls(**{**{name: getattr(given, name) for name in cls.model_fields}, **keywords})


class Limits(Asked):
    """What a file may cost before it is refused."""

    noun: ClassVar[str] = "limit"

    max_tensors: PositiveInt = 200_000
    """Tensors in one file."""

    max_header_bytes: Bytes = 8 << 20
    """Bytes of a safetensors header."""

    max_pickle_bytes: Bytes = 64 << 20
    """Bytes of the pickled structure of a torch file."""

    max_members: PositiveInt = 250_000
    """Members of a zip archive."""

    max_expanded_bytes: Bytes = 256 << 20
    """Bytes by which tensors may be larger than what is stored for them (stride 0)."""

    max_files: PositiveInt = 10_000
    """Files in a model folder, or in an archive of one."""

    max_unpacked_bytes: Bytes = 32 << 30
    """Bytes of all files in an archive of a model folder, unpacked."""

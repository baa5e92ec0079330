"""How the service is run: one frozen model, read once from a mapping of environment variables."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from convlast.options import Limits

PREFIX = "CONVLAST_"
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+")
_HOST = re.compile(r"\*|[a-z0-9.-]+")


class SettingsError(Exception):
    """A setting is unknown, bad, or at odds with another; the message is one line."""


def _split(value: object) -> object:
    """Read `"torchvision.,monai."` as the list it stands for."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _name_a_path(value: object) -> object:
    """Refuse an empty text, which `Path` would take for the folder that the service runs in."""
    if value == "":
        raise ValueError("name a path, or leave it unset")
    return value


NamedPath = Annotated[Path, BeforeValidator(_name_a_path)]


class Settings(Limits):
    """Everything an operator can choose; the fields of `convlast.Limits` are among them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    host: str = "127.0.0.1"
    """The address to listen on. Another one than loopback needs keys, or `ALLOW_ANONYMOUS`."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The TCP port to listen on; 0 takes a free one."""

    device: str = "auto"
    """Where conversions run: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`. A GPU that
    is asked for by name and cannot be used stops the start; with `auto` the CPU serves, and
    `/readyz` says why."""

    max_upload_bytes: PositiveInt = 16 << 30
    """Bytes of the largest checkpoint."""

    client_idle_s: PositiveFloat = 30.0
    """Seconds that a client may send, or take, nothing, and that the head of a request may take."""

    upload_timeout_s: PositiveFloat = 3600.0
    """Seconds that a whole upload may take."""

    download_timeout_s: PositiveFloat = 3600.0
    """Seconds that a whole download may take."""

    job_timeout_s: PositiveFloat = 600.0
    """Seconds that a job may run before it is stopped."""

    drain_timeout_s: PositiveFloat = 600.0
    """Seconds after SIGTERM in which jobs and downloads that are in may end; what is left then is
    broken off. Keep it below the time after which the process would be killed."""

    worker_memory_bytes: PositiveInt = 8 << 30
    """Bytes of anonymous memory that a worker may have, beside three times the upload's size; one
    that takes more is stopped."""

    require_sandbox: bool = False
    """Whether a worker gets no job if a part of its sandbox is missing; `/readyz` names each."""

    queue_size: Annotated[int, Field(ge=0)] = 32
    """Requests that may upload or wait, beside the one that runs; a further one is refused."""

    jobs_per_key: PositiveInt = 16
    """Requests of one key that may upload, wait or run at once, and answers with an artifact that
    may go to it at once. Clients without a key are told apart by their address."""

    max_downloads: PositiveInt = 64
    """Answers with an artifact that may be under way at once; while there are as many, a further
    one is refused, and no checkpoint is taken in."""

    max_connections: PositiveInt = 512
    """Connections that may be open at once; one address may have three quarters of them, a reverse
    proxy too. At the limit a connection that has its answer is closed, or the one that has been
    idle longest; if there is none, only probes are answered."""

    work_bytes: PositiveInt = 64 << 30
    """Bytes that uploads and what is made of them may take on disk until they are answered or in
    the store. A checkpoint counts twice: itself, and its artifact; what an archive holds does so
    too."""

    work_dir: NamedPath = Path(f"/var/tmp/convlast-{os.getuid()}")  # noqa: S108  # made 0700, owner checked
    """The folder for uploads, running jobs and the store; one service at a time uses it. Name one
    that is new, or empty, or of an earlier run."""

    store_bytes: PositiveInt = 32 << 30
    """Bytes of finished jobs that are kept; the oldest go first."""

    store_age_s: PositiveFloat = 3600.0
    """Seconds that a finished job is kept."""

    api_keys_file: NamedPath | None = None
    """A file with one bearer key a line, as `name:key` or bare; `#` starts a comment. A key has 8
    characters at least, and each line ends in a newline: others are not used. It is read again a
    second after it changed; write a new one beside it, and `mv` that to its place. A name may have
    several keys; jobs belong to the name."""

    allow_anonymous: bool = False
    """Whether requests without a key are served beside keys, or on an address beyond loopback."""

    trusted_hosts: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """Names, separated by commas, by which a request without a key may call, beside addresses,
    names without a dot, and those that end in `.localhost` or `.internal`; `*`: any. Another name
    could be a page's that has led a browser here."""

    metrics_need_key: bool = False
    """Whether `/metrics` needs a key, like work. It names no file and no key."""

    docs: bool = True
    """Whether `/docs` and `/openapi.json` are there."""

    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """Origins whose pages may call from a browser, such as `https://ml.example.org`, separated by
    commas; none: no page of another origin."""

    allow_programs: bool = False
    """Whether TorchScript and ExportedProgram files, which hold code, are accepted."""

    architecture_prefixes: Annotated[tuple[str, ...] | None, BeforeValidator(_split)] = None
    """Modules that an architecture may come from, separated by commas; none: the library's own."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from the variables that start with `CONVLAST_`.

        Raises:
            SettingsError: If a variable is unknown, its value is bad, or two are at odds.

        >>> Settings.from_environment({"CONVLAST_PORT": "8080", "HOME": "/root"}).port
        8080
        """
        values = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX)
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(cls._first_line(error)) from None

    @classmethod
    def _first_line(cls, error: ValidationError) -> str:
        first = error.errors(include_url=False, include_input=False)[0]
        if not first["loc"]:
            return str(first["msg"]).removeprefix("Value error, ")
        field = str(first["loc"][0])
        variable = PREFIX + field.upper()
        if field not in cls.model_fields:
            return f"There is no setting {variable}."
        return f"{variable} has a bad value: {first['msg'].removeprefix('Value error, ')}."

    @property
    def limits(self) -> Limits:
        """What a file may cost before it is refused."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not _DEVICE.fullmatch(device):
            raise ValueError("name auto, cpu, cuda, or cuda:N")
        return device

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("name origins such as https://ml.example.org, without a path")
        return origins

    @field_validator("trusted_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_HOST.fullmatch(host) for host in hosts):
            raise ValueError("name hosts such as convlast.example.org, without a port, or *")
        return hosts

    @model_validator(mode="after")
    def _is_not_open_by_accident(self) -> Self:
        if not (_is_loopback(self.host) or self.api_keys_file or self.allow_anonymous):
            raise ValueError(
                f"CONVLAST_HOST={self.host} is reachable from elsewhere: set "
                "CONVLAST_API_KEYS_FILE, or CONVLAST_ALLOW_ANONYMOUS=true where that is meant."
            )
        return self

    @classmethod
    def markdown_table(cls) -> str:
        """Write the settings as the table of the README."""
        rows = ["| variable | default | meaning |", "|---|---|---|"]
        for name, field in cls.model_fields.items():
            default = "" if field.default in (None, ()) else f"`{_plain(name, field.default)}`"
            meaning = (field.description or "").replace("\n", " ").replace("|", "\\|")
            rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {meaning} |")
        return "\n".join(rows)


def _plain(name: str, default: object) -> str:
    if name == "work_dir":
        return "/var/tmp/convlast-<uid>"  # noqa: S108
    return str(default).lower() if isinstance(default, bool) else str(default)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""The settings of the service, read once from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from convlast.byte_size import Bytes
from convlast.options import Limits, asked
from convlast.stores.address import Address
from service.settings.kinds import (
    Device,
    HostAndPort,
    Hosts,
    NamedPath,
    Networks,
    Origins,
    Prefixes,
    RootPath,
    StoreAddress,
    Texts,
    is_loopback,
)

PREFIX = "CONVLAST_"


class SettingsError(Exception):
    """A setting is unknown, bad, or contradicts another; the message is one line."""


LISTED = "`python -m service --help` lists the settings."


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


class Settings(Limits):
    """Everything an operator can choose; the fields of `convlast.Limits` are among them."""

    host: str = "127.0.0.1"
    """The address to listen on. Any address but loopback needs keys, or
    `CONVLAST_ALLOW_ANONYMOUS=true`."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The TCP port to listen on. With 0 the system chooses a free one."""

    device: Device = "auto"
    """Where conversions run: `auto` (all GPUs if there are any), `cpu`, `cuda` (all GPUs),
    `cuda:1` (one), or `cuda:0,2` (some). One job runs at a time on each GPU. If you name a GPU
    that does not exist, or none that you name can be used, the service does not start. With
    `auto` it uses the CPU instead, and `/readyz` says why."""

    workers: PositiveInt | None = None
    """Conversions that run at once on the CPU, each with its share of the cores. As many
    inspections run beside them, but at most four."""

    engine: Literal["local", "ray"] = "local"
    """Where conversions run: `local`, on this machine, or `ray`, on the nodes of a Ray cluster.
    Then `CONVLAST_DEVICE` has to be `cpu` or `cuda`, and `CONVLAST_STORE` an address that every
    node reaches. Inspections always run here."""

    ray_address: HostAndPort = "127.0.0.1:6379"
    """Host and port of the head of the Ray cluster."""

    ray_token_file: NamedPath | None = None
    """The file with the token of the Ray cluster, the same on every node. Its mode becomes 0400.
    There is no cluster without one: whoever may talk to Ray runs code in it."""

    warm_workers: Annotated[int, Field(ge=0)] = 1
    """Workers that wait warm for the next jobs of each device. On a GPU each of them holds a
    CUDA context, and with 0 every job waits for the start of CUDA."""

    max_upload_bytes: Bytes = 16 << 30
    """Largest checkpoint that is accepted."""

    client_idle_s: PositiveFloat = 30.0
    """Idle timeout of a client, and time limit for request headers, in seconds."""

    upload_timeout_s: PositiveFloat = 3600.0
    """Time limit for a whole upload, in seconds."""

    download_timeout_s: PositiveFloat = 3600.0
    """Time limit for a whole download, in seconds."""

    job_timeout_s: PositiveFloat = 600.0
    """Time limit for a job, in seconds. A job that takes longer is stopped."""

    drain_timeout_s: PositiveFloat = 600.0
    """After SIGTERM, running jobs and downloads have this many seconds to finish; then they are
    aborted. Asynchronous jobs that wait or are aborted go on after the restart. Keep it below the
    time after which the process would be killed."""

    memory_bytes: Bytes | None = None
    """Anonymous memory that all workers together may use. A job begins when its part is free."""

    worker_memory_bytes: Bytes = 8 << 30
    """Anonymous memory that a worker may use, beside three times the size of the upload; less, if
    `CONVLAST_MEMORY_BYTES` divided by the workers is less. A worker that uses more is stopped."""

    require_sandbox: bool = False
    """Refuse jobs if a part of the sandbox is missing. `/readyz` names the parts."""

    queue_size: Annotated[int, Field(ge=0)] = 32
    """Requests that may upload or wait, beside those that run. The service refuses further
    ones."""

    jobs_per_key: PositiveInt = 16
    """Requests that one key may upload, queue or run at once, and artifacts that it may
    download at once. Clients without a key are told apart by address."""

    pending_jobs: Annotated[int, Field(ge=0)] = 256
    """Asynchronous jobs that may wait or run. Their checkpoints count in `CONVLAST_WORK_BYTES`."""

    pending_jobs_per_key: PositiveInt = 64
    """Asynchronous jobs of one key that may wait or run."""

    max_followers: PositiveInt = 512
    """Requests that may wait for news of a job: event streams, and `GET /jobs/{id}?wait=30`. One
    client may have three quarters of them."""

    max_downloads: PositiveInt = 64
    """Artifacts that may be downloaded at once. At the limit the service refuses further
    downloads, and new conversions."""

    max_connections: PositiveInt = 1024
    """Connections that may be open at once. One address may have three quarters of them, and so
    may a reverse proxy. At the limit the service closes a connection whose request is answered,
    or the one that has been idle longest. If there is none, it answers only probes."""

    work_bytes: Bytes = 64 << 30
    """Disk space for uploads and results until they are sent or stored. A checkpoint counts twice,
    for itself and its artifact, and so do the contents of an archive."""

    work_dir: NamedPath = Path(f"/var/tmp/convlast-{os.getuid()}")  # noqa: S108  # made 0700, owner checked
    """The folder for uploads, running jobs and the store. Only one service at a time can use
    it. Name a new folder, an empty one, or that of an earlier run."""

    store: StoreAddress = ""
    """A store that several services share, such as `s3://bucket/prefix`, `gs://`, `az://` or
    `file:///folder`: each of them answers for all asynchronous jobs, and finishes those of one that
    is gone. By default the store is in the work folder. Needs the extra `stores`."""

    store_bytes: Bytes = 32 << 30
    """Finished jobs that are kept, with the checkpoints of asynchronous ones. The oldest are
    removed first."""

    store_age_s: PositiveFloat = 3600.0
    """How long a finished job is kept, in seconds."""

    api_keys_file: NamedPath | None = None
    """A file with one bearer key per line, as `name:key` or `key`; `#` starts a comment. Keys
    shorter than 8 characters, and a last line without a newline, are ignored. The file is read
    again a second after it changed: write a new file beside it and `mv` it into place. A name
    may have several keys; jobs belong to the name."""

    allow_anonymous: bool = False
    """Accept requests without a key, even if there are keys or the address is not loopback."""

    trusted_hosts: Hosts = ()
    """Host names accepted without a key, separated by commas; `*` accepts any. IP addresses,
    names without a dot, `*.localhost` and `*.internal` are always accepted. Protects against
    DNS rebinding."""

    root_path: RootPath = ""
    """The path below which a reverse proxy serves the service, such as `/convlast`. Links in
    answers begin with it. The proxy may pass it on or take it off."""

    metrics_need_key: bool = False
    """Require a key for `/metrics`. The metrics name no file and no key."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level of the log's lines. Requests of probes are `debug`."""

    revision: Annotated[str, Field(max_length=64)] = ""
    """The commit that the service was built from, for `/version` and the log. The image sets
    it."""

    docs: bool = True
    """Serve `/docs` and `/openapi.json`."""

    page: bool = True
    """Serve the page at `/`, on which people drop files. It contains no job, no file and no key."""

    signing_key_file: NamedPath | None = None
    """The private key that signs what the service states of artifacts: Ed25519 or ECDSA P-256, PEM
    (PKCS #8), readable by its owner, and perhaps its group, alone. SIGHUP has it read again. By
    default the statements are not signed."""

    cors_origins: Origins = ()
    """Origins whose pages may call from a browser, such as `https://ml.example.org`, separated
    by commas. By default none may."""

    allow_programs: bool = False
    """Accept TorchScript and ExportedProgram files, which contain code."""

    architecture_prefixes: Texts | None = None
    """Modules that an architecture may come from, separated by commas. By default those that
    the library lists."""

    sources: Prefixes = ()
    """Addresses below which every client may name a checkpoint or a model folder as `source`,
    separated by commas: `s3://bucket/folder/`, `gs://`, `az://`, `https://host/` or
    `file:///folder/`. By default none may. The service uses its own credentials."""

    targets: Prefixes = ()
    """Addresses below which every client may name a folder as `target`, which gets the artifact
    and its report, separated by commas. What has their names is replaced. By default none may."""

    private_networks: Networks = ()
    """Networks that are not public, and that a source with `https://` may lead into all the same,
    such as `10.1.0.0/16`, separated by commas."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from the variables that start with `CONVLAST_`.

        Raises:
            SettingsError: If a variable is unknown, its value is bad, or two contradict each other.

        >>> Settings.from_environment({"CONVLAST_PORT": "8080", "HOME": "/root"}).port
        8080
        """
        values = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX)
        }
        return cls(**values)

    @classmethod
    def refusal(cls, error: ValidationError) -> Exception:
        """Return the error to raise instead of pydantic's."""
        first = error.errors(include_url=False, include_input=False)[0]
        problem = first["msg"].removeprefix(asked.PREFIX)
        if not first["loc"]:
            return SettingsError(problem)
        name = str(first["loc"][0])
        if name in cls.model_fields:
            return SettingsError(f"{variable_of(name)} has a bad value: {problem}.")
        # Compared without the prefix, which would make all names alike.
        close = asked.closest(name, cls.model_fields)
        meant = f"Did you mean {variable_of(close)}?" if close else LISTED
        return SettingsError(f"There is no setting {variable_of(name)}. {meant}")

    @property
    def limits(self) -> Limits:
        """The limits beyond which a file is refused."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})

    @model_validator(mode="after")
    def _delivers_to_stores(self) -> Self:
        if any(Address.parse(target).scheme == "https" for target in self.targets):
            raise ValueError(
                "CONVLAST_TARGETS cannot name https:// addresses: nothing is sent there."
            )
        return self

    @model_validator(mode="after")
    def _is_not_open_by_accident(self) -> Self:
        if not (is_loopback(self.host) or self.api_keys_file or self.allow_anonymous):
            raise ValueError(
                f"CONVLAST_HOST={self.host} is reachable from elsewhere: set "
                "CONVLAST_API_KEYS_FILE, or CONVLAST_ALLOW_ANONYMOUS=true to serve everyone."
            )
        return self

    @model_validator(mode="after")
    def _has_what_its_engine_needs(self) -> Self:
        if self.engine == "local":
            return self
        if self.ray_token_file is None or not self.store:
            raise ValueError(
                "CONVLAST_ENGINE=ray needs CONVLAST_RAY_TOKEN_FILE and CONVLAST_STORE."
            )
        if self.device not in ("cpu", "cuda"):
            raise ValueError(
                f"CONVLAST_ENGINE=ray cannot use CONVLAST_DEVICE={self.device}: set it to cuda, "
                "for one slot on each GPU, or to cpu."
            )
        return self

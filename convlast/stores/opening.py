"""How stores are asked, and with what patience."""

from __future__ import annotations

import atexit
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from convlast.errors import OptionError, StoreUnavailableError
from convlast.stores.address import Address

try:
    import httpx
    import obstore
    from obstore.store import AzureStore, GCSStore, LocalStore, S3Store
except ModuleNotFoundError:
    raise OptionError(
        "stores", "Addresses need the extra stores.", remedy="pip install httpx obstore"
    ) from None

# The threads of obstore let go of Python's objects a moment after a request has its answer. If the
# interpreter ends meanwhile, the process aborts; a third of short programs did. This runs before.
_SETTLED_S = 0.2
atexit.register(time.sleep, _SETTLED_S)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_SLOWEST_BYTES_A_SECOND = 50_000
"""A part that is sent at less than this is given up, and sent again."""

_TRIES = 60
"""How often a part is sent: evenly over the time of patience."""

_KINDS: dict[str, type[S3Store | GCSStore | AzureStore]] = {
    "s3": S3Store,
    "gs": GCSStore,
    "az": AzureStore,
}
_VARIABLES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}


@dataclass(frozen=True)
class StoreOptions:
    """How stores are asked.

    Attributes:
        timeout_s: How long a request may go on without any progress.
        patience_s: How long a store that is away, or fails, is asked again; since the last byte.
        part_bytes: What is read or sent in one request.
        parallel: How many requests go on at once; memory for so many parts is used.
        http: What sends the requests for https:// addresses, if httpx should not do it as it
            usually does. The one who made it closes it.
        variables: Credentials, regions and endpoints by the names of their variables, such as
            `AWS_REGION`, which the environment of the process then need not hold.
    """

    timeout_s: float = 30
    patience_s: float = 120
    part_bytes: int = 16 << 20
    parallel: int = 4
    http: httpx.AsyncBaseTransport | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def open_store(
    address: Address, options: StoreOptions | None = None, *, sending: bool = False
) -> ObjectStore:
    """Return the store that an address lies in. Credentials come from the environment.

    Args:
        address: An address other than https://.
        options: How it is asked.
        sending: Whether it is for parts of large objects. These are sent again in here; all other
            requests are repeated by the one who makes them.

    Raises:
        StoreUnavailableError: If the settings in the environment are wrong.
    """
    options = options or StoreOptions()
    if address.scheme == "file":
        return LocalStore()
    client = _sending(options) if sending else _asking(options)
    retries: RetryConfig = _sent_again(options) if sending else {"max_retries": 0}
    try:
        return _KINDS[address.scheme](
            address.root,
            config=_config(address.scheme, options.variables),
            client_options=client,
            retry_config=retries,
        )
    # Its words may repeat what is in the environment.
    except (obstore.exceptions.BaseError, ValueError):
        raise StoreUnavailableError(
            f"The store of {address} cannot be opened with the settings in the environment.",
            address=str(address),
            reason="settings",
            remedy=f"Look at the variables that begin with {_VARIABLES[address.scheme]}.",
        ) from None


def _config(scheme: str, variables: Mapping[str, str]) -> Any:
    """Return those variables that a kind of store knows, as it takes them from an environment."""
    names = (name for name in variables if name.startswith(_VARIABLES[scheme]))
    return {name: variables[name] for name in names if _is_known(scheme, name)}


@cache
def _is_known(scheme: str, name: str) -> bool:
    config: Any = {name: ""}
    try:
        _KINDS[scheme]("bucket", config=config)
    except obstore.exceptions.UnknownConfigurationKeyError:
        return False
    except (obstore.exceptions.BaseError, ValueError):
        return True
    return True


def _asking(options: StoreOptions) -> ClientConfig:
    """Limit the time between two pieces of an answer, and not that of a whole one."""
    moment = timedelta(seconds=options.timeout_s)
    return {
        "connect_timeout": moment,
        "read_timeout": moment,
        "timeout": timedelta(days=1),
        "allow_http": True,  # of an endpoint that the operator has written into the environment
    }


def _sending(options: StoreOptions) -> ClientConfig:
    """Limit the time of each part by its size: nothing is read while it is sent."""
    return {
        "connect_timeout": timedelta(seconds=options.timeout_s),
        "timeout": timedelta(seconds=_longest_s(options)),
        "allow_http": True,
    }


def _sent_again(options: StoreOptions) -> RetryConfig:
    """Send a part again as long as there is patience, which begins when it fails.

    The limit of obstore counts from the first request on, which may itself have taken long. So the
    number of tries limits the time, and the pauses between them are all the same.
    """
    pause = timedelta(seconds=options.patience_s / _TRIES)
    return {
        "max_retries": _TRIES,
        "retry_timeout": timedelta(seconds=_longest_s(options) + options.patience_s),
        "backoff": {"init_backoff": pause, "max_backoff": pause, "base": 2},
    }


def _longest_s(options: StoreOptions) -> float:
    """Return how long a part may take, while all others are sent as well."""
    together_bytes = options.part_bytes * options.parallel
    return options.timeout_s + together_bytes / _SLOWEST_BYTES_A_SECOND

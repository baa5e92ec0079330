"""Whether a cluster turns away who has no token.

A head that somebody has started without authentication takes requests with a token too, and would
run code for whoever reaches it. Ray reads once in a process how to authenticate, so a process of
its own tries it: `python -m service.ray_engine.stranger HOST:PORT`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

PATIENCE_S = 20.0
"""How long a head may take to answer."""

_LET_IN, _TURNED_AWAY = 0, 3


class OpenClusterError(Exception):
    """A cluster answers who has no token."""


def check(address: str, environment: Mapping[str, str]) -> None:
    """Check that a cluster answers nobody without a token.

    Args:
        address: Host and port of the head.
        environment: The variables of the process that asks.

    Raises:
        OpenClusterError: If it does.
        ConnectionError: If it cannot be reached, or does not answer in time.
    """
    program = [sys.executable, "-m", __name__, address]
    try:
        status = subprocess.run(  # noqa: S603  # our own program
            program, env=environment, capture_output=True, check=False, timeout=PATIENCE_S
        ).returncode
    except subprocess.TimeoutExpired:
        raise ConnectionError(f"The head at {address} does not answer.") from None
    if status == _LET_IN:
        raise OpenClusterError(
            f"The head at {address} answers without a token: whoever reaches it runs code. "
            "Start it with `python -m service.ray_engine head`."
        )
    if status != _TURNED_AWAY:
        raise ConnectionError(f"The head at {address} cannot be reached.")


def main() -> int:
    """Ask the cluster for its id without a token, and return the exit status."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    from ray._raylet import GcsClient
    from ray.exceptions import AuthenticationError

    try:
        GcsClient(address=sys.argv[1])
    except AuthenticationError:
        return _TURNED_AWAY
    return _LET_IN


if __name__ == "__main__":
    sys.exit(main())

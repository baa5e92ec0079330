"""`python -m convlast`, and the `convlast` script: the command line, where it is installed."""

from __future__ import annotations

import os
import sys

from convlast.openmp import wait_asleep


def main() -> None:
    """Run the command line, or say which extra holds it."""
    wait_asleep(os.environ)
    try:
        from convlast.cli import app
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        sys.exit(
            "convlast: not-installed: The command line needs the extra cli.\n"
            "  pip install rich typer"
        )
    app()


if __name__ == "__main__":
    main()

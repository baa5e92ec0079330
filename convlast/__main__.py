"""`python -m convlast`, and the `convlast` script: the command line, where it is installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say which extra holds it."""
    try:
        from convlast.cli import app
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        sys.exit("convlast: the command line needs the extra: pip install 'convlast[cli]'")
    app()


if __name__ == "__main__":
    main()

"""Wrong usage, told in the same style as every other error: a code, a message, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from convlast.cli import codes, outcome
from convlast.errors import OptionError

_UsageError: Any = typer.BadParameter.__mro__[1]
"""The base of all errors of usage. Typer has it under a name that is not public."""

PROGRAM = "convlast"


class Commands(TyperGroup):
    """The commands; what they are called with, and is wrong, is told without a box around it."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command, and end with its exit status.

        Raises:
            SystemExit: Always, in standalone mode.
        """
        try:
            status = super().main(
                args, prog_name, complete_var, False, windows_expand_args, **extra
            )
        except _UsageError as error:
            if type(error).__name__ != "NoArgsIsHelpError":  # whose help is printed already
                outcome.say(OptionError.code, _message_of(error), self._remedy_for(error, args))
            status = codes.USAGE
        except typer.Abort:
            outcome.say("interrupted", "The command was stopped.")
            status = codes.INTERRUPTED
        if standalone_mode:
            sys.exit(status if isinstance(status, int) else codes.PASSED)
        return status

    def _remedy_for(self, error: Any, args: Sequence[str] | None) -> str:
        """Return how to see what the command takes."""
        names: list[str] = []
        context = error.ctx
        while context is not None and context.parent is not None:  # the last one is the program
            names.insert(0, context.info_name)
            context = context.parent
        if error.ctx is None:  # as where an option lacks its value
            given = sys.argv[1:] if args is None else args
            names = [word for word in given if word in self.commands][:1]
        return f"Try '{' '.join([PROGRAM, *names, '--help'])}'."


def _message_of(error: Any) -> str:
    """Return an error's words; suggestions are worded as for commands."""
    message = str(error.message if hasattr(error, "possibilities") else error.format_message())
    if possible := getattr(error, "possibilities", None):
        message = f"{message.rstrip('.')}. Did you mean {' or '.join(map(repr, possible))}?"
    return message if message.endswith((".", "?")) else f"{message}."

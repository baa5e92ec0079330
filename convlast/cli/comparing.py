"""`convlast compare`: what changed from one report to another, and whether it got worse."""

from __future__ import annotations

import struct
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from convlast import addressed
from convlast.cli import outcome
from convlast.cli.arguments import is_file_or_pipe
from convlast.cli.parameters import flattened
from convlast.errors import OptionError
from convlast.report.changes import Tolerance
from convlast.stores.address import is_address

if TYPE_CHECKING:
    from convlast.report import Report
    from convlast.report.changes import Comparison, Judgement

STDIN = "-"
MAX_REPORT_BYTES = 256 << 20
"""Above the report of a checkpoint with as many tensors as the limits allow."""

_NAME_IN_ZIP = "report.json"
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Those that services write. Of others Python unpacks as much as there is, whatever was asked."""

_ENCRYPTED = 0x1
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, RuntimeError),
    *(OSError, ValueError, OverflowError),  # offsets and names that there cannot be
)


def _there(text: str) -> str:
    if text != STDIN and not is_address(text) and not is_file_or_pipe(Path(text)):
        raise typer.BadParameter(f"there is no file '{text}'.")
    return text


def _report(metavar: str, text: str) -> typer.models.ArgumentInfo:
    info: typer.models.ArgumentInfo = typer.Argument(metavar=metavar, help=text, parser=_there)
    return info


Before = Annotated[
    str,
    _report(
        "BEFORE",
        "The older report: a report.json, the zip that a service answers, an address such as "
        "s3://bucket/made/report.json, or - for stdin.",
    ),
]
After = Annotated[str, _report("AFTER", "The newer report, in one of the same ways.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="Print Markdown on stdout, under 60 kB.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but, on stderr, which parts got worse.")
]


@outcome.reasoned
@flattened
def compare(
    before: Before,
    after: After,
    tolerance: Tolerance,
    as_json: Json = False,
    as_markdown: Markdown = False,
    quiet: Quiet = False,
) -> None:
    """Say what changed between two reports; end with status 1 if something got worse.

    The reports may be of another version of the model, of torch or of the driver.
    """
    from convlast.report.comparing import compare as compared

    if as_json and as_markdown:
        raise OptionError("markdown", "--json and --markdown are two kinds of output.")
    if before == after == STDIN:
        raise OptionError("after", "Only one of both reports can be on stdin.")
    found = compared(_read(before, "before"), _read(after, "after"), tolerance)
    _show(found, as_json=as_json, as_markdown=as_markdown, quiet=quiet)
    if found.regressions:
        outcome.end("regression-found", f"{_counted(found.regressions)} got worse.")
    if not quiet:
        better = found.improvements
        said = f" {_counted(better)} got better." if better else ""
        changed = "" if found.changed else " Nothing changed."
        outcome.say("passed", f"Nothing got worse.{said}{changed}")


def _show(found: Comparison, *, as_json: bool, as_markdown: bool, quiet: bool) -> None:
    from convlast.report.rendering.comparison import markdown, text

    if as_markdown:
        sys.stdout.buffer.write(markdown.render(found).encode())
        sys.stdout.buffer.flush()
    elif as_json or not quiet:
        outcome.show(found, text.render(found), as_json=as_json)


def _counted(judgements: list[Judgement]) -> str:
    """Name the parts in which something got better or worse, with how many of each there are."""
    counts = Counter(each.part for each in judgements)
    return ", ".join(f"{part} ({n:,})" if n > 1 else part for part, n in counts.items())


def _read(named: str, option: str) -> Report:
    """Read a report from where it is.

    Raises:
        OptionError: If there is no report, or it is damaged or too large.
    """
    from convlast.report.reading import read

    if named == STDIN:
        return read(_bounded(sys.stdin.buffer.read, option), option=option, name="What is on stdin")
    with addressed.fetched(named) as found, found.path.open("rb") as file:
        name = f"'{found.path.name}'"
        if not (found.path.is_file() and zipfile.is_zipfile(file)):
            if file.seekable():
                file.seek(0)
            return read(_bounded(file.read, option), option=option, name=name)
        return read(_in_zip(file, option, name), option=option, name=f"The report in {name}")


def _in_zip(file: IO[bytes], option: str, name: str) -> bytes:
    """Return the report in a zip, which anybody may have made.

    Raises:
        OptionError: If there is none that can be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entry = archive.getinfo(_NAME_IN_ZIP)
            if entry.compress_type not in _METHODS or entry.flag_bits & _ENCRYPTED:
                raise zipfile.BadZipFile
            _refuse_size(entry.file_size, option)
            with archive.open(entry) as member:
                return _bounded(member.read, option)
    except OptionError:
        raise
    except _DAMAGES:
        raise OptionError(
            option,
            f"There is no {_NAME_IN_ZIP} in {name} that can be read.",
            remedy="Name a report.json, or a zip that the service has answered.",
        ) from None


def _bounded(read: Callable[[int], bytes], option: str) -> bytes:
    """Read all, unless that is too much for a report.

    Raises:
        OptionError: If it is.
    """
    content = read(MAX_REPORT_BYTES + 1)
    _refuse_size(len(content), option)
    return content


def _refuse_size(size_bytes: int, option: str) -> None:
    if size_bytes > MAX_REPORT_BYTES:
        raise OptionError(option, f"A report has at most {MAX_REPORT_BYTES >> 20} MiB.")

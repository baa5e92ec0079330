"""A report in the kinds that are written only when someone asks for them, from the stored JSON."""

from __future__ import annotations

from contextlib import closing

from convlast.errors import OptionError
from convlast.report.reading import read
from convlast.report.saving import KINDS
from convlast.report.sections import ReportData
from service.errors import NotAcceptableError
from service.headers.negotiation import HTML, JSON, MARKDOWN, SARIF, XML
from service.jobs.entry import JobEntry
from service.storage.slices import Slice
from service.threads import COMPARING
from service.workers import REPORT_JSON

MAX_REPORT_BYTES = 8 << 20
"""The most bytes of a report that is written anew: some nine thousand layers, or twenty-two
thousand that were not run and have an error each. It takes less than 100 MiB of memory and two
seconds, in which the event loop goes on."""

WRITTEN = {MARKDOWN: ".md", XML: ".xml", SARIF: ".sarif"}
"""The ending of each such kind, by its media type."""

REPORT_OFFERS = (JSON, HTML, *WRITTEN)
"""The kinds of a report, the usual one first."""


async def written(entry: JobEntry, media_type: str) -> bytes:
    """Write the report of a job in another kind.

    Raises:
        NotFoundError: If it has been removed meanwhile.
        NotAcceptableError: If it is too large, or is none: a worker may write anything.
    """
    return await COMPARING.run(_written, entry, media_type)


def _written(entry: JobEntry, media_type: str) -> bytes:
    # Opened here, since a client that goes away may end the wait before the work begins.
    [report] = entry.open([REPORT_JSON])
    with closing(report):
        if report.size_bytes > MAX_REPORT_BYTES:
            raise NotAcceptableError(
                f"The report is too large to be written as {media_type}: {report.size_bytes:,} "
                f"bytes, of at most {MAX_REPORT_BYTES:,}.",
                remedy="`convlast jobs fetch ID --report FILE` writes it on your machine.",
                offers=[JSON, HTML],
            )
        return KINDS[WRITTEN[media_type]](_read(report)).encode()


def _read(report: Slice) -> ReportData:
    try:
        return read(report.read(), name="The report of the job")
    except OptionError as error:
        raise NotAcceptableError(error.message, offers=[JSON, HTML]) from None

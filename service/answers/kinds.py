"""What a job can be answered with, and the kinds of its report that are written when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from convlast.errors import OptionError
from convlast.provenance.envelope import ENVELOPE, STATEMENT
from convlast.report.reading import read
from convlast.report.saving import KINDS
from convlast.report.sections import ReportData
from service.errors import NotAcceptableError
from service.headers.negotiation import (
    HTML,
    JSON,
    MARKDOWN,
    OCTET_STREAM,
    SARIF,
    XML,
    ZIP,
    negotiate,
)
from service.jobs.description import MAX_REPORT_BYTES, has_written_kinds
from service.jobs.entry import JobEntry
from service.jobs.records import ARTIFACT, PROVENANCE_DSSE, PROVENANCE_JSON
from service.storage.slices import Slice
from service.threads import COMPARING
from service.workers import REPORT_HTML, REPORT_JSON

WRITTEN = {MARKDOWN: ".md", XML: ".xml", SARIF: ".sarif"}
"""The ending of each kind that is written from the stored JSON, by its media type."""

REPORT_OFFERS = (JSON, HTML, *WRITTEN)
"""The kinds of a report, the usual one first."""

OFFERS = (ZIP, *REPORT_OFFERS, OCTET_STREAM)
"""What a conversion is answered with, the usual one first."""

FILES = {
    ZIP: (ARTIFACT, REPORT_JSON, REPORT_HTML),
    OCTET_STREAM: (ARTIFACT,),
    HTML: (REPORT_HTML,),
    **dict.fromkeys((JSON, *WRITTEN), (REPORT_JSON,)),
    STATEMENT: (PROVENANCE_JSON,),
    ENVELOPE: (PROVENANCE_DSSE,),
}
"""The files that an answer consists of."""


def choose(accept: str | None, offers: Sequence[str], entry: JobEntry) -> str:
    """Return the media type that a client prefers, of those in which there is something of a job.

    An artifact that was delivered to a target is not here. Who has asked for it gets the report.

    Raises:
        NotAcceptableError: If the client accepts none of them.
    """
    preferred = negotiate(accept, offers)
    there = [each for each in offers if _has(entry, each)]
    try:
        return negotiate(accept, there)
    except NotAcceptableError:
        if ARTIFACT in FILES[preferred]:
            return JSON
        if preferred in WRITTEN:
            raise _too_large(entry, preferred) from None
        raise


def _has(entry: JobEntry, media_type: str) -> bool:
    has_files = all(name in entry.made for name in FILES[media_type])
    return has_files and (media_type not in WRITTEN or has_written_kinds(entry))


def _too_large(entry: JobEntry, media_type: str) -> NotAcceptableError:
    fetch = f", or run `convlast jobs fetch {entry.id} --report FILE`: it writes it on your machine"
    return NotAcceptableError(
        f"The report is too large to be written as {media_type}: "
        f"{entry.made[REPORT_JSON].bytes:,} bytes, of at most {MAX_REPORT_BYTES:,}.",
        remedy=f"Ask for {JSON}{fetch if entry.is_kept else ''}.",
        offers=[each for each in (JSON, HTML) if _has(entry, each)],
    )


async def written(entry: JobEntry, media_type: str) -> bytes:
    """Write the report of a job in another kind.

    Raises:
        NotFoundError: If it has been removed meanwhile.
        NotAcceptableError: If it is too large, or is none: a worker may write anything.
    """
    if not has_written_kinds(entry):
        raise _too_large(entry, media_type)
    return await COMPARING.run(_written, entry, media_type)


def _written(entry: JobEntry, media_type: str) -> bytes:
    # Opened here, since a client that goes away may end the wait before the work begins.
    [report] = entry.open([REPORT_JSON])
    with closing(report):
        return KINDS[WRITTEN[media_type]](_read(report)).encode()


def _read(report: Slice) -> ReportData:
    try:
        return read(report.read(), name="The report of the job")
    except OptionError as error:
        raise NotAcceptableError(error.message, offers=[JSON, HTML]) from None

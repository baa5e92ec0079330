"""What answers consist of, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, get_args

from convlast.provenance.envelope import ENVELOPE, STATEMENT
from convlast.report import Verdict
from service.connection.observation import REQUEST_ID
from service.headers.negotiation import HTML, JSON, MARKDOWN, OCTET_STREAM, SARIF, XML, ZIP
from service.problems import JOB_FIELD, VERDICT_FIELD

REF = "#/components/schemas/{model}"
BINARY: dict[str, Any] = {"type": "string", "format": "binary"}

ABOUT_JOB: dict[str, Any] = {
    VERDICT_FIELD: {
        "description": "The verdict of the report, once the job has ended with one.",
        "schema": {"type": "string", "enum": list(get_args(Verdict))},
    },
    JOB_FIELD: {
        "description": "Identifies the job in the report, the log and `/jobs/{job_id}`.",
        "schema": {"type": "string"},
    },
}
JOB_HEADERS: dict[str, Any] = {
    **ABOUT_JOB,
    REQUEST_ID: {
        "description": "Identifies the request in the report and the log: the one that the client "
        "has sent, if it has at most 64 letters, digits, dots, dashes and underscores.",
        "schema": {"type": "string"},
    },
}
REPORT_CONTENT: dict[str, Any] = {
    JSON: {"schema": {"$ref": REF.format(model="Report")}},
    **{kind: {"schema": {"type": "string"}} for kind in (HTML, MARKDOWN, XML)},
    SARIF: {"schema": {"type": "object"}},
}
PROVENANCE_CONTENT: dict[str, Any] = {
    STATEMENT: {"schema": {"type": "object"}},
    ENVELOPE: {"schema": {"type": "object"}},
}
ZIP_CONTENT: dict[str, Any] = {ZIP: {"schema": BINARY}}
ARTIFACT_CONTENT: dict[str, Any] = {OCTET_STREAM: {"schema": BINARY}}
CONVERT_CONTENT: dict[str, Any] = {
    ZIP: {"schema": BINARY},
    **REPORT_CONTENT,
    JSON: {
        "schema": {
            "allOf": [
                {"$ref": REF.format(model="Report")},
                {
                    "properties": {
                        "links": {
                            "type": "object",
                            "additionalProperties": {"type": "string", "format": "uri-reference"},
                        }
                    }
                },
            ]
        }
    },
    OCTET_STREAM: {"schema": BINARY},
}

_JOB_CONTENT: dict[str, Any] = {JSON: {"schema": {"$ref": REF.format(model="JobStatus")}}}
JOB: dict[str, Any] = {
    "description": "The job.",
    "content": _JOB_CONTENT,
    "headers": ABOUT_JOB,
}
ACCEPTED: dict[str, Any] = {
    "description": "The job, which goes on: it had not ended in the time that `Prefer` gives.",
    "content": _JOB_CONTENT,
    "headers": ABOUT_JOB
    | {
        name: {"description": meaning, "schema": {"type": "string"}}
        for name, meaning in {
            "Location": "The URL of the job.",
            "Preference-Applied": "The part of `Prefer` that was applied.",
            "Retry-After": "In how many seconds it will probably have ended.",
        }.items()
    },
}
JOBS: dict[str, Any] = {
    "description": "A page of jobs, and the URL of the next page.",
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["jobs", "next"],
                "properties": {
                    "jobs": {"type": "array", "items": {"$ref": REF.format(model="JobStatus")}},
                    "next": {"type": ["string", "null"], "format": "uri-reference"},
                },
            }
        }
    },
}
EVENTS: dict[str, Any] = {
    "description": "The job after each change, as `data` of an event whose `id` is `progress.seq`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
    "headers": ABOUT_JOB,
}

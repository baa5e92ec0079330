"""The parts of the OpenAPI document that FastAPI cannot derive: bodies, problems, schemas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from convlast.jobs import JobState, JobStatus
from convlast.options import Options
from convlast.report import Report
from convlast.report.changes import Comparison
from convlast.version import __version__
from service.headers.negotiation import JSON
from service.problems import MEDIA_TYPE, TABLE, WORKER_CODES, Problem
from service.routes.contents import BINARY, REF
from service.uploads.multipart import CHECKPOINT
from service.uploads.upload_headers import MULTIPART, RAW

_OWN_CODES = (
    "malformed-request",
    "digest-mismatch",
    "unauthorized",
    "not-acceptable",
    "not-found",
    "gone",
    "upload-too-slow",
    "upload-too-large",
    "unsupported-media-type",
    "too-many-requests",
    "internal",
    "worker-crashed",
    "queue-full",
    "timed-out",
    "invalid-address",
    "address-not-allowed",
    "source-not-found",
    "source-changed",
    "store-unavailable",
)
UPLOAD_CODES = (*_OWN_CODES, *WORKER_CODES["inspect"])
CONVERT_CODES = (*_OWN_CODES, *WORKER_CODES["convert"])

_PARAMETERS: dict[str, dict[str, Any]] = {
    "limit": {
        "type": "integer",
        "minimum": 1,
        "default": 50,
        "description": "Jobs on a page; at most 200.",
    },
    "after": {"type": "string", "description": "Where the page begins; `next` has it."},
    "state": {"type": "string", "enum": list(get_args(JobState)), "description": "Only these."},
    "with": {"type": "string", "description": "The id of the other job."},
    "wait": {
        "type": "number",
        "minimum": 0,
        "default": 0,
        "description": "Seconds to wait for news; at most 60 count.",
    },
}


_REQUIRED = ("with",)


def query_parameters(*names: str) -> dict[str, Any]:
    """Document parameters of the query."""
    return {"parameters": [_parameter(name, _PARAMETERS[name]) for name in names]}


def _parameter(name: str, schema: dict[str, Any], place: str = "query") -> dict[str, Any]:
    meaning, required = schema.get("description", ""), name in _REQUIRED
    fields = {"in": place, "required": required, "description": meaning, "schema": schema}
    return {"name": name, **fields}


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Document the problems of an operation by status, each with an example."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[TABLE[code].status].append(code)
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in found),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": REF.format(model="Problem")},
                    "examples": {code: _example(code) for code in found},
                }
            },
        }
        for status, found in sorted(by_status.items())
    }


def upload_body(option_names: Iterable[str], *, has_target: bool) -> dict[str, Any]:
    """Document the kinds of body, and the query parameters for a raw one.

    Args:
        option_names: The options.
        has_target: Whether there are results that can be delivered.
    """
    schemas = _option_schemas()
    options = {name: schemas[name] for name in option_names}
    part = {**BINARY, "description": "The checkpoint: a file as torch or safetensors wrote it."}
    form = {"type": "object", "required": [CHECKPOINT], "properties": {CHECKPOINT: part, **options}}
    filename = {"type": "string", "description": "The name of the checkpoint."}
    named = {
        "source": {
            "type": "string",
            "pattern": "^(sha256:[0-9a-f]{64}$|[a-z0-9]+://)",
            "description": "The digest of bytes that an earlier asynchronous request has brought, "
            "or an address in a store, such as `s3://bucket/model.pt`, which the service fetches; "
            "that of a model folder ends with a slash.",
        },
        "filename": filename,
        "options": {
            "type": "object",
            "properties": options,
            "additionalProperties": False,
            "description": "The options, by name.",
        },
    }
    if has_target:
        named["target"] = {
            "type": "string",
            "description": "A folder in a store, such as `s3://bucket/converted/`, that gets the "
            "artifact, its digest and its reports; of a model folder the folder that it becomes.",
        }
        named["statement"] = {
            "type": "boolean",
            "default": False,
            "description": "Whether the target also gets the statement on the artifact.",
        }
    by_name = {"type": "object", "required": ["source"], "properties": named}
    prefer = {
        "type": "string",
        "description": "`respond-async`: answer with the job as soon as the upload is complete; "
        "`wait=25`: answer with the job if it has not ended in 25 s (RFC 7240).",
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                MULTIPART: {"schema": {**form, "additionalProperties": False}},
                RAW: {"schema": BINARY},
                JSON: {"schema": {**by_name, "additionalProperties": False}},
            },
        },
        "parameters": [
            _parameter("Prefer", prefer, "header"),
            *(
                _parameter(name, schema)
                for name, schema in {"filename": filename, **options}.items()
            ),
        ],
    }


def install(app: FastAPI, *, anonymous_allowed: bool, root_path: str = "") -> None:
    """Add the schemas that the routes refer to to the OpenAPI document of an application.

    Args:
        app: The application.
        anonymous_allowed: Whether a key is optional.
        root_path: The prefix of all paths, if there is one.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=__version__,
                description=app.description,
                routes=app.routes,
                servers=[{"url": root_path}] if root_path else None,
            )
            _drop_foreign_errors(document)
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for model in (Report, Comparison, JobStatus):
                schema = model.model_json_schema(ref_template=REF, mode="serialization")
                schemas.update(schema.pop("$defs", {}))
                schemas[model.__name__] = schema
            schemas["Problem"] = _problem_schema()
            if anonymous_allowed:
                _make_keys_optional(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation does it


def _drop_foreign_errors(document: dict[str, Any]) -> None:
    """Drop the 422 that FastAPI adds to operations with parameters: no path here can be invalid."""
    foreign = "HTTPValidationError"
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("422", {}).get("content", {})
            if content.get(JSON, {}).get("schema", {}).get("$ref") == REF.format(model=foreign):
                del operation["responses"]["422"]
    for name in (foreign, "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(name, None)


def _make_keys_optional(document: dict[str, Any]) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            if "security" in operation:
                operation["security"].append({})


def _example(code: str) -> dict[str, Any]:
    row = TABLE[code]
    return {"summary": row.title, "value": Problem(code, row.example).body()}


def _option_schemas() -> dict[str, Any]:
    """Describe each option as text, which it is in a form or a query."""
    schemas, defaults = {}, Options().model_dump(mode="json")
    for name, field in Options.model_json_schema()["properties"].items():
        text: dict[str, Any] = {"type": "string", "description": field.get("description", "")}
        if "enum" in field:
            text["enum"] = field["enum"]
        if (default := defaults[name]) is not None:
            text["default"] = _as_text(default)
        schemas[name] = text
    schemas["memory_format"]["enum"] = ["channels_last_3d", "channels_last", "contiguous_format"]
    return schemas


def _as_text(default: Any) -> str:
    """Write a default as a form or a query has it."""
    if isinstance(default, list):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _problem_schema() -> dict[str, Any]:
    return {
        "title": "Problem",
        "description": "A problem (RFC 9457); some codes have further members.",
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string", "description": "A URN that ends in the code."},
            "title": {"type": "string", "description": "The problem in a few words."},
            "status": {"type": "integer", "description": "The status of the response."},
            "code": {
                "type": "string",
                "enum": list(TABLE),
                "description": "For programs to test; permanent.",
            },
            "detail": {"type": "string", "description": "What is wrong here, and what to do."},
            "request_id": {"type": "string", "description": "Identifies the request in the log."},
            "job_id": {
                "type": "string",
                "description": "Identifies the job in the log; only if it has begun.",
            },
            "report": {
                "$ref": REF.format(model="Report"),
                "description": "Only for `verification-failed`; shortened if it is too long.",
            },
        },
    }

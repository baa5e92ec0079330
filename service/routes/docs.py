"""`/docs`: the OpenAPI document as one page without scripts.

The usual pages load scripts from another host. A machine without internet access cannot, and users
would have to trust that host with the keys that they type into the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from convlast.report.rendering.markup import Markup, element
from service.connection.protection import CSP, policy
from service.headers.negotiation import JSON

PATH, OPENAPI_PATH = "/docs", "/openapi.json"

_STYLE = """
:root { color-scheme: light dark; --quiet: #6b7686; --line: #8884; --accent: #2457c5; }
@media (prefers-color-scheme: dark) { :root { --accent: #8db0ff; --quiet: #98a4b5; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: 6px; }
h2 { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: 1.15rem; }
h2 b { color: var(--accent); margin-right: .75rem; }
h3 { font-size: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; }
td { border-top: 1px solid var(--line); }
summary { cursor: pointer; color: var(--quiet); }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {CSP: policy(f"'sha256-{_DIGEST}'")}

Node = Mapping[str, Any]


def install(app: FastAPI) -> None:
    """Serve the page, and its OpenAPI document under the path that tools expect.

    Both are cached: otherwise each small request would cost the rendering of 100 kB.
    """

    @cache
    def page() -> bytes:
        return render(app.openapi()).encode()

    @cache
    def document() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False).encode()

    async def answer_page(_: Request) -> Response:
        return HTMLResponse(page(), headers=_HEADERS)

    async def answer_document(_: Request) -> Response:
        return Response(document(), media_type=JSON)

    app.add_route(PATH, answer_page, include_in_schema=False)
    app.add_route(OPENAPI_PATH, answer_document, include_in_schema=False)


def render(document: Node) -> str:
    """Render an OpenAPI document as a page."""
    info = document["info"]
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{info['title']} {info['version']}"),
        element("style", Markup(_STYLE)),
    )
    for_tools = element("a", OPENAPI_PATH.removeprefix("/"), href=OPENAPI_PATH.removeprefix("/"))
    body = element(
        "body",
        element("h1", f"{info['title']} {info['version']}"),
        element("p", *_prose(info["description"])),
        element("p", "For tools: ", for_tools),
        *(part for operation in _operations(document) for part in operation),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _operations(document: Node) -> Iterator[Iterator[Markup]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield _operation(method.upper(), path, operation)


def _operation(method: str, path: str, operation: Node) -> Iterator[Markup]:
    yield element("h2", element("b", method), element("code", path))
    yield element("p", element("b", operation["summary"]))
    for paragraph in operation["description"].split("\n\n"):
        yield element("p", *_prose(paragraph))
    contents = operation.get("requestBody", {}).get("content", {})
    for media_type, content in contents.items():
        yield element("h3", "Body ", element("code", media_type))
        fields = content["schema"].get("properties", {})
        if fields:
            yield _table(("field", "meaning"), _described(fields))
    parameters = {each["name"]: each["schema"] for each in operation.get("parameters", ())}
    if parameters:
        yield element("h3", "Parameters")
        yield _table(("name", "meaning"), _described(parameters))
    yield element("h3", "Answers")
    yield _table(("status", "content"), map(_answer, operation["responses"].items()))


def _described(schemas: Mapping[str, Node]) -> Iterator[tuple[Markup, Markup]]:
    for name, schema in schemas.items():
        values = ", ".join(f"`{value}`" for value in schema.get("enum", ()))
        text = f"{schema.get('description', '')} {values}"
        yield element("code", name), element("span", *_prose(text))


def _answer(item: tuple[str, Node]) -> tuple[Markup, Markup]:
    status, response = item
    parts = [element("div", *_prose(response.get("description", "")))]
    if "headers" in response:
        fields = {name: {**each, **each["schema"]} for name, each in response["headers"].items()}
        parts.append(_table(("header", "meaning"), _described(fields)))
    for media_type, content in response.get("content", {}).items():
        parts.append(element("div", element("code", media_type)))
        rows = [
            (element("code", code), element("span", *_prose(example["value"]["detail"])))
            for code, example in content.get("examples", {}).items()
        ]
        if rows:
            shown = element("summary", "Examples"), _table(("code", "detail"), rows)
            parts.append(element("details", *shown))
    return element("code", str(status)), element("div", *parts)


def _table(heads: tuple[str, ...], rows: Any) -> Markup:
    head = element("tr", *(element("th", each) for each in heads))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    return element("table", element("thead", head), element("tbody", *body))


def _prose(text: str) -> Iterator[str]:
    """Mark up text between backticks as code."""
    for index, piece in enumerate(re.split(r"`([^`]*)`", " ".join(text.split()))):
        yield element("code", piece) if index % 2 else piece

"""`/docs`: the OpenAPI document as one page without scripts.

The usual pages load scripts from another host. A machine without internet access cannot, and users
would have to trust that host with the keys that they type into the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from convlast.options import Options
from convlast.report.rendering import assets
from convlast.report.rendering.markup import Markup, element
from service.connection.protection import CSP, policy
from service.headers.negotiation import JSON
from service.problems import MEDIA_TYPE, TABLE
from service.routes.examples import CURL
from service.uploads.sources import OPTION_NAMES

PATH, OPENAPI_PATH = "/docs", "/openapi.json"

_STYLE = (
    assets.THEME
    + """
body > * { max-width: 62rem; margin: 0 auto; padding: 0 1.5rem; overflow-wrap: anywhere; }
header { padding-top: 2rem; }
main { padding-bottom: 3rem; }
p { margin: .5rem 0; }
a { color: var(--accent); }
nav ul { columns: 18rem; column-gap: 2rem; margin: 1rem 0 0; padding: 0; list-style: none; }
nav li { padding: .15rem 0; break-inside: avoid; }
nav .method { display: inline-block; min-width: 4.25rem; }
h2 { margin-top: 3rem; font-size: 1.4rem; }
h3 { margin-top: 2.5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
h2 + section > h3 { margin-top: 0; padding-top: 0; border-top: 0; }
h3 code { font-size: 1.05rem; }
h4 { margin: 1.25rem 0 .25rem; font-size: 1rem; }
.method { margin-right: .5rem; color: var(--accent); }
pre { margin: .5rem 0; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); white-space: pre-wrap; }
dl { margin: .25rem 0; }
dl > div { padding: .4rem 0; border-top: 1px solid var(--line); }
dl > div:first-child { border-top: 0; }
dt { font-weight: 600; }
dt .quiet { display: block; font-weight: 400; }
dd { margin: 0; }
@media (min-width: 42rem) {
  dl > div { display: grid; grid-template-columns: 13rem 1fr; gap: 1rem; }
  dd dl > div { display: block; }
}
"""
)
_HEADERS = {CSP: policy(assets.source_of(_STYLE))}

_TAGS = {
    "checkpoints": "Convert and inspect",
    "jobs": "Jobs and their files",
    "operation": "Operation",
}
"""The chapters, by the tag of their operations."""

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
    title = f"{info['title']} {info['version']}"
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{title}: the HTTP interface"),
        element("style", Markup(_STYLE)),
    )
    operations = [*_operations(document)]
    body = element(
        "body",
        element("header", element("h1", title), element("p", *_prose(info["description"]))),
        _contents(operations),
        element(
            "main", *_beginning(document), *_chapters(operations), _options(operations), _problems()
        ),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _operations(document: Node) -> Iterator[tuple[str, str, Node]]:
    """Yield the method, the path and the description of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _contents(operations: list[tuple[str, str, Node]]) -> Markup:
    links = [
        element(
            "a",
            element("b", method, class_="method"),
            element("code", path),
            href=f"#{_anchor(method, path)}",
        )
        for method, path, _ in operations
    ]
    links += [element("a", "Options", href="#options"), element("a", "Problems", href="#problems")]
    return element(
        "nav", element("ul", *(element("li", link) for link in links)), aria_label="Contents"
    )


def _beginning(document: Node) -> Iterator[Markup]:
    prefixes = [server["url"] for server in document.get("servers", ())]
    url = f"https://convlast.example.org{prefixes[0]}" if prefixes else "http://127.0.0.1:8000"
    yield element("h2", "Before you begin")
    yield element("p", *_prose("The examples are for a shell in which `url` is the service."))
    yield element("pre", element("code", f"url={url}"))
    yield element(
        "p", *_prose('If the service wants a key, add `-H "Authorization: Bearer $key"` to each.')
    )
    link = OPENAPI_PATH.removeprefix("/")
    yield element("p", "For tools: ", element("a", link, href=link))


def _chapters(operations: list[tuple[str, str, Node]]) -> Iterator[Markup]:
    for tag, group in groupby(operations, key=lambda each: each[2]["tags"][0]):
        yield element("h2", _TAGS.get(tag, tag))
        for method, path, operation in group:
            yield element("section", *_operation(method, path, operation))


def _operation(method: str, path: str, operation: Node) -> Iterator[Markup]:
    title = element("b", method, class_="method"), element("code", path)
    yield element("h3", *title, id=_anchor(method, path))
    yield element("p", element("b", operation["summary"]))
    for paragraph in operation["description"].split("\n\n"):
        yield element("p", *_prose(paragraph))
    yield element("pre", element("code", *_lines(CURL[method, path])))
    yield from _body(operation.get("requestBody", {}).get("content", {}))
    parameters = {each["name"]: each["schema"] for each in operation.get("parameters", ())}
    if own := {name: each for name, each in parameters.items() if not _is_option(name)}:
        yield element("h4", "Parameters")
        yield _fields(own)
        if own != parameters:
            yield element("p", "A raw body has its ", _link_to_options(), " in the query.")
    yield element("h4", "Answers")
    yield _list(map(_answer, _good(operation["responses"])))
    if codes := [*_codes(operation["responses"])]:
        yield element("p", *_prose(f"Problems: {', '.join(codes)}."), class_="quiet")


def _body(contents: Node) -> Iterator[Markup]:
    """Describe each kind of body, in which the options stand for themselves."""
    if not contents:
        return
    yield element("h4", "Body")
    entries = []
    for media_type, content in contents.items():
        fields = content["schema"].get("properties", {})
        own = {name: each for name, each in fields.items() if not _is_option(name)}
        parts = [_fields(own)] if own else [element("span", "The bytes of the checkpoint.")]
        if own != fields:
            parts.append(element("p", "And ", _link_to_options(), ", each as a field."))
        entries.append((element("code", media_type), element("div", *parts)))
    yield _list(iter(entries))


def _good(responses: Mapping[str, Node]) -> Iterator[tuple[str, Node]]:
    """Yield the answers that are no problems."""
    return ((str(status), each) for status, each in responses.items() if str(status) < "4")


def _codes(responses: Mapping[str, Node]) -> Iterator[str]:
    """Yield the codes of the problems of an operation, each as code."""
    for response in responses.values():
        for code in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", ()):
            yield f"`{code}`"


def _answer(item: tuple[str, Node]) -> tuple[Markup, Markup]:
    status, response = item
    kinds = ", ".join(f"`{kind}`" for kind in response.get("content", {}))
    text = f"{response.get('description', '')} {f'As {kinds}.' if kinds else ''}"
    parts = [element("div", *_prose(text))]
    if "headers" in response:
        headers = response["headers"].items()
        parts.append(_fields({name: {**each, **each["schema"]} for name, each in headers}))
    return element("code", status), element("div", *parts)


def _options(operations: list[tuple[str, str, Node]]) -> Markup:
    """Describe each option once."""
    convert = next(each for _, path, each in operations if path == "/convert")
    schemas = {each["name"]: each["schema"] for each in convert["parameters"]}
    names = [name for name in schemas if _is_option(name)]
    inspected = ", ".join(f"`{name}`" for name in OPTION_NAMES["inspect"])
    return element(
        "section",
        element("h2", "Options", id="options"),
        element("p", *_prose(f"Of `/convert`; `/inspect` takes {inspected}.")),
        _fields({name: schemas[name] for name in names}),
    )


def _problems() -> Markup:
    """Describe each problem once, with an example."""
    entries = [
        (
            element("span", element("code", code), f" {row.status}"),
            element("div", f"{row.title}. ", element("span", f"“{row.example}”", class_="quiet")),
        )
        for code, row in TABLE.items()
    ]
    about = (
        f"An error is a problem (RFC 9457), as `{MEDIA_TYPE}`: its `code` is for programs and "
        "stays the same, its `detail` says what is wrong and what to do."
    )
    title = element("h2", "Problems", id="problems")
    return element("section", title, element("p", *_prose(about)), _list(iter(entries)))


def _fields(schemas: Mapping[str, Node]) -> Markup:
    """Describe fields or parameters: name, default, meaning, and the values that are allowed."""
    return _list(map(_field, schemas.items()))


def _field(item: tuple[str, Node]) -> tuple[Markup, Markup]:
    name, schema = item
    default = schema.get("default", "none" if _is_option(name) else None)
    values = ", ".join(f"`{value}`" for value in schema.get("enum", ()))
    parts = [element("div", *_prose(schema.get("description", "")))]
    if values:
        parts.append(element("div", *_prose(f"One of {values}.")))
    term: list[str] = [element("code", name)]
    if default is not None:
        term += [" ", element("span", "default ", element("code", str(default)), class_="quiet")]
    return element("span", *term), element("div", *parts)


def _list(entries: Iterator[tuple[Markup, Markup]]) -> Markup:
    """Write terms and their descriptions, which unlike a table fit a narrow screen."""
    return element(
        "dl", *(element("div", element("dt", term), element("dd", said)) for term, said in entries)
    )


def _is_option(name: str) -> bool:
    return name in Options.model_fields


def _link_to_options() -> Markup:
    return element("a", "options", href="#options")


def _anchor(method: str, path: str) -> str:
    """Name the place of an operation on the page.

    >>> _anchor("GET", "/jobs/{job_id}/report.html")
    'get-jobs-job_id-report-html'
    """
    return "-".join([method.lower(), *re.findall(r"\w+", path)])


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a text, since a newline in a text is shown as its escape."""
    for index, line in enumerate(text.splitlines()):
        yield Markup("\n") if index else Markup("")
        yield line


def _prose(text: str) -> Iterator[str]:
    """Mark up text between backticks as code."""
    for index, piece in enumerate(re.split(r"`([^`]*)`", " ".join(text.split()))):
        yield element("code", piece) if index % 2 else piece

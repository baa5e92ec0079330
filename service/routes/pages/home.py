"""The page at `/`: choose a checkpoint, see what would be converted, convert it, read the report.

The service writes it once; its script asks the service for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from convlast.report.rendering import assets as report_assets
from convlast.report.rendering.assets import source_of
from convlast.report.rendering.markup import Markup, element
from convlast.version import __version__
from service.connection.protection import CSP, policy
from service.routes.pages import options_form
from service.routes.pages.assets import SCRIPT, STYLE
from service.routes.pages.options_form import void

PATH = "/"

_STYLES = f"{source_of(STYLE)} {source_of(report_assets.STYLE)}"
_SCRIPTS = f"{source_of(SCRIPT)} {source_of(report_assets.SCRIPT)}"
POLICY = f"{policy(_STYLES, _SCRIPTS)}; connect-src 'self'; img-src data:"
"""A report is shown in a frame that inherits this policy, so it names the report's style and script
too."""

TITLE = "Convert a checkpoint to channels_last_3d"
_CURL = """curl -sS --fail-with-body -F checkpoint=@model.pt -o report.html \\
  -H 'Accept: text/html' ADDRESS/inspect
curl -sS --fail-with-body -F checkpoint=@model.pt -o out.zip ADDRESS/convert"""


def install(app: FastAPI, *, has_docs: bool, root_path: str = "") -> None:
    """Serve the page.

    Args:
        app: The application.
        has_docs: Whether it serves `/docs`, to which the page links then.
        root_path: The prefix of all paths, if there is one.
    """
    content = render(has_docs=has_docs, root_path=root_path).encode()

    async def answer(_: Request) -> Response:
        return HTMLResponse(content, headers={CSP: POLICY})

    app.add_route(PATH, answer, include_in_schema=False)


def render(*, has_docs: bool, root_path: str = "") -> str:
    """Render the page.

    With a prefix its links are absolute: a proxy may serve it with or without a slash at the end.
    """
    base = {"data_base": f"{root_path}/"} if root_path else {}
    docs = f"{root_path}/docs" if root_path else "docs"
    head = element(
        "head",
        void("meta", charset="utf-8"),
        void("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        void("link", rel="icon", href="data:,"),
        element("title", TITLE),
        element("style", Markup(STYLE)),
    )
    app = element(
        "div", _key(), _choice(), _job(), _comparison(), _jobs(), id="app", hidden="hidden", **base
    )
    title = element("h1", TITLE, id="page-title", tabindex="-1")
    news = element("p", id="news", class_="unseen", role="status")
    main = element("main", title, _about(), _without_script(docs if has_docs else None), app, news)
    script = element("script", Markup(SCRIPT), type="module")
    body = element("body", _header(docs if has_docs else None), main, script)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _header(docs: str | None) -> Markup:
    links = (element("a", "API and curl", href=docs),) if docs else ()
    forget = element("button", "Forget the key", type="button", id="forget-key", hidden="hidden")
    name = element("p", element("b", "convlast"), f" {__version__}")
    return element("header", name, element("nav", *links, forget, aria_label="Service"))


def _about() -> Markup:
    return element(
        "p",
        "Converts the Conv3d weights of a PyTorch checkpoint, proves the result, and tests it in "
        "fp16. Nothing in the file is executed.",
        class_="lead",
    )


def _without_script(docs: str | None) -> Markup:
    link = element("a", "its documentation", href=docs) if docs else ""
    content = (
        element("h2", "This page needs JavaScript"),
        element(
            "p",
            "It uploads files, follows jobs and shows their reports by a script of its own. "
            "Without it, curl does the same",
            Markup(f", as {link} describes") if link else "",
            ". ADDRESS is the address of this page:",
        ),
        element("pre", element("code", _lines(_CURL)), tabindex="0"),
        element("p", "With a key, add ", element("code", "-H 'Authorization: Bearer KEY'"), "."),
    )
    return element("noscript", element("div", *content, class_="card"))


def _lines(text: str) -> Markup:
    """Escape text line by line: a newline inside a text would be shown as its escape."""
    return Markup("\n".join(element("span", line) for line in text.splitlines()))


def _section(name: str, title: str, *content: Markup, is_hidden: bool = False) -> Markup:
    """Return a section whose heading can get the focus."""
    hidden = {"hidden": "hidden"} if is_hidden else {}
    heading = element("h2", title, id=f"{name}-title", tabindex="-1")
    return element(
        "section",
        heading,
        *content,
        id=f"{name}-section",
        aria_labelledby=f"{name}-title",
        class_="card",
        **hidden,
    )


def _key() -> Markup:
    field = void(
        "input", type="password", id="key", autocomplete="off", aria_describedby="key-help"
    )
    form = element(
        "form",
        element("label", "Key", for_="key"),
        field,
        element("button", "Use the key", type="submit", class_="main"),
        id="key-form",
        class_="line",
    )
    kept = (
        "The key is kept in this tab, in the session storage: a reload goes on with it, and "
        "closing the tab forgets it."
    )
    problem = element("p", id="key-problem", role="alert")
    help_ = element("p", kept, id="key-help", class_="quiet")
    return _section("key", "The service wants a key", problem, form, help_, is_hidden=True)


def _choice() -> Markup:
    files = void("input", type="file", id="files", multiple="multiple", hidden="hidden")
    folder = void("input", type="file", id="folder", webkitdirectory="", hidden="hidden")
    zone = element(
        "div",
        element("p", "Drop a file, several files or a model folder on this page, or choose them."),
        element(
            "p",
            element("button", "Choose files", type="button", id="choose-files", class_="main"),
            " ",
            element("button", "Choose a folder", type="button", id="choose-folder"),
            class_="buttons",
        ),
        files,
        folder,
        id="drop",
    )
    note = (
        "Files are uploaded once, and inspected first; you convert them afterwards. A folder is "
        "packed as a tar in the browser, because a tar needs no checksums: nothing is read before "
        "the upload."
    )
    return _section(
        "choice",
        "Choose a checkpoint",
        zone,
        element("p", note, class_="quiet"),
        _problem("drop-problem"),
        element("ul", id="uploads", aria_label="Uploads", hidden="hidden"),
    )


def _problem(name: str) -> Markup:
    return element("div", id=name, class_="problem", role="alert", hidden="hidden")


def _job() -> Markup:
    return _section(
        "job",
        "Job",
        element("h3", id="job-verdict", hidden="hidden"),
        element("p", id="job-state"),
        element("progress", id="job-progress", max="1", aria_label="Progress of the job"),
        element("p", id="job-trouble", role="status", class_="trouble"),
        _problem("job-problem"),
        element("p", id="job-summary"),
        element("p", id="job-actions", class_="buttons"),
        _options(),
        element("div", id="job-report", class_="frame", hidden="hidden"),
        is_hidden=True,
    )


def _options() -> Markup:
    others = element(
        "p",
        void("input", type="checkbox", id="others"),
        " ",
        element("label", "", for_="others", id="others-label"),
        id="others-field",
        hidden="hidden",
    )
    send = element("button", "Convert", type="submit", id="convert", class_="main")
    form = element(
        "form",
        options_form.render(),
        others,
        _problem("options-problem"),
        element("p", send, class_="buttons"),
        id="options-form",
        autocomplete="off",
    )
    title = element("summary", element("h3", "Convert it", id="options-title"))
    return element("details", title, form, id="options-box", hidden="hidden")


def _comparison() -> Markup:
    frame = element("div", id="comparison", class_="frame")
    return _section(
        "comparison", "Comparison", _problem("comparison-problem"), frame, is_hidden=True
    )


def _jobs() -> Markup:
    compare = element(
        "p",
        element("button", "Compare", type="button", id="compare", disabled="disabled"),
        " ",
        element("span", id="compare-help", class_="quiet"),
        id="compare-field",
        hidden="hidden",
    )
    return _section("jobs", "Jobs", *_job_list(), compare)


def _job_list() -> Iterator[Markup]:
    yield element("p", id="jobs-trouble", role="status", class_="trouble")
    yield element("p", "There is none yet.", id="no-jobs", class_="quiet")
    yield element("ul", id="jobs", aria_labelledby="jobs-title")
    older = element("button", "Older jobs", type="button", id="older", hidden="hidden")
    yield element("p", older, class_="buttons")

"""Accessibility of a page, as axe finds it with all its rules."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from playwright.sync_api import Frame, Page

_RUN = """async () => {
  const rules = axe.getRules().map(rule => rule.ruleId);
  const found = await axe.run({runOnly: {type: "rule", values: rules}, iframes: false,
    resultTypes: ["violations"]});
  return found.violations.flatMap(violation => violation.nodes.map(node =>
    `${violation.id} (${violation.impact}): ${node.html.slice(0, 200)} ${node.failureSummary}`));
}"""


def violations(where: Page | Frame) -> list[str]:
    """Return what is wrong on a page, or in one frame of it; rules off by default run too."""
    where.evaluate(_script())
    found: list[str] = where.evaluate(_RUN)
    return found


@cache
def _script() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")

"""A picture, as a test reads it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from convlast.report.rendering.markup import Markup


def read(drawn: Markup) -> ET.Element:
    """Read some markup, which is XML as well."""
    return ET.fromstring(f"<div>{drawn}</div>")  # noqa: S314 # we wrote it


def picture_in(drawn: Markup) -> ET.Element:
    """Return the one picture in some markup."""
    (found,) = (each for each in read(drawn).iter("svg") if each.get("role") == "img")
    return found


def title_of(picture: ET.Element) -> str:
    """Return what a picture says where it cannot be seen: the title is its first element."""
    assert picture[0].tag == "title"
    return picture[0].text or ""


def parts(root: ET.Element, tag: str, kind: str) -> list[ET.Element]:
    """Return the elements of one tag and class, in their order."""
    return [each for each in root.iter(tag) if kind in (each.get("class") or "").split()]


def texts(root: ET.Element, kind: str) -> list[str]:
    """Return the words of all text of one class."""
    return [each.text or "" for each in parts(root, "text", kind)]


def shares(root: ET.Element) -> list[float]:
    """Return every place and every width that is a percentage."""
    found = [value for each in root.iter() for value in each.attrib.values()]
    return [float(value.removesuffix("%")) for value in found if value.endswith("%")]

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.errors import OptionError
from convlast.report import Report
from convlast.report.comparing import compare
from convlast.report.reading import read
from convlast.report.rendering.comparison import page
from convlast.report.sections import SCHEMA_VERSION
from tests.convlast.report.arbitrary_reports import RECORDED, recorded

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["</script><script>", "\x00", "\u202e", "1e999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def text(**updates: Any) -> bytes:
    """Return the recorded report with other members, as JSON."""
    return json.dumps(recorded() | updates).encode()


def test_a_report_reads_back() -> None:
    """A report of an older schema is read, and so is the service's answer, which has links."""
    report = Report.model_validate_json(RECORDED.read_bytes())
    assert read(RECORDED.read_bytes()) == report
    assert read(text(links={"self": "/jobs/1"})) == report


def test_a_report_of_a_later_minor_version_is_read() -> None:
    """What is not known here is left out, wherever it stands; a new value is not."""
    found = recorded()
    expected = Report.model_validate(found | {"schema_version": SCHEMA_VERSION})
    found |= {"schema_version": "1.72", "later": [1]}
    for part in (found["options"], found["layers"][0], found["layers"][0]["smoke"], found["smoke"]):
        part["later"] = {"verdict": "failed"}
    assert read(json.dumps(found).encode()) == expected
    found["layers"][0]["status"] = "improved"
    with pytest.raises(OptionError, match="does not know, in its member layers"):
        read(json.dumps(found).encode())


def test_the_report_in_a_refusal_is_read() -> None:
    """A service that refuses what failed has the report in the problem."""
    problem = {"code": "verification-failed", "status": 422, "report": recorded()}
    assert read(json.dumps(problem).encode()) == Report.model_validate(recorded())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 10_000, "is not JSON"),
        (b"[]", "is not a report of convlast"),
        (b'{"verdict": "passed"}', "is not a report of convlast"),
        (text(schema_version="2.0"), "another version. This version of convlast reads"),
        (text(schema_version=["1.0"]), "another version"),
        (text(schema_version="1.1.1"), "another version"),
        (text(layers="none"), "is a damaged report, in its member layers"),
        (text(**{"<script>": 1}), r"is a damaged report\. "),
        (text(seconds={"write": 10**400}), "is a damaged report"),
        (text(seconds={"write": 1}).replace(b": 1}", b": 1e999}"), "is a damaged report"),
        (text().replace(b'"tensors": 62', b'"tensors": NaN'), "is not JSON"),
        (text().replace(b"checkpoint_final.pth", b"\\ud800"), "is not JSON"),
    ],
)
def test_what_is_no_report_is_refused_clearly(content: bytes, message: str) -> None:
    """The error names the report and the option, and says what is wrong and what to do."""
    with pytest.raises(OptionError, match=message) as caught:
        read(content, option="with", name="The report of the other job")
    assert caught.value.option == "with"
    assert caught.value.message.startswith("The report of the other job ")
    assert caught.value.remedy


@given(st.data())
def test_a_spoilt_report_is_refused_or_compared(data: st.DataObject) -> None:
    """A worker that was taken over can write anything: it is refused, or it can be shown."""
    found = recorded()
    node: Any = found
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            node[key] = data.draw(JUNK)
            break
        node = node[key]
    try:
        spoilt = read(json.dumps(found).encode())
    except OptionError:
        return
    good = Report.model_validate(recorded())
    for one, other in ((good, spoilt), (spoilt, good)):
        both = compare(one, other)
        assert both.model_dump_json()
        assert page.render(both).count("<script>") == 1


@pytest.mark.parametrize(("version", "said"), [("1.72", "later version, 1.72"), (None, "damaged")])
def test_a_later_version_may_have_words_that_are_not_known(version: str | None, said: str) -> None:
    """Such a report is not called damaged, since it is not; to update convlast helps."""
    found = recorded()
    found |= {"verdict": "passed_by_far"} | ({"schema_version": version} if version else {})
    with pytest.raises(OptionError, match=said) as caught:
        read(json.dumps(found).encode())
    assert (caught.value.remedy == "Update convlast.") == (version is not None)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convlast.options import Options
from service.app import create_app
from service.problems import MEDIA_TYPE, TABLE
from service.settings import Settings


@pytest.fixture
def document(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Return the OpenAPI document of an application that is not running."""
    app = create_app(Settings(work_dir=tmp_path))
    yield app.openapi()
    app.state.context.workspace.close()


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a document."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from walk(each)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Each `$ref` names a schema in the document."""
    schemas = document["components"]["schemas"]
    references = {node["$ref"] for node in walk(document) if isinstance(node.get("$ref"), str)}
    assert "#/components/schemas/Report" in references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_every_code_has_an_example_under_its_status(document: dict[str, Any]) -> None:
    """Every code that an operation can answer with is documented with an example."""
    seen = set()
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                examples = response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
                for code, example in examples.items():
                    assert TABLE[code].status == int(status) == example["value"]["status"]
                    seen.add(code)
    # No operation has this code: it is for a method that the path does not have.
    assert seen == set(TABLE) - {"method-not-allowed"}


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    """No operation documents an error in the framework's own format."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                assert int(status) < 400 or set(response["content"]) == {MEDIA_TYPE}
    assert not [name for name in document["components"]["schemas"] if "Validation" in name]


def test_every_answer_has_a_media_type(document: dict[str, Any]) -> None:
    """Every answer but `204` and `304` has a media type."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            bare = [code for code, each in operation["responses"].items() if "content" not in each]
            assert set(bare) <= {"204", "304"}, path


def test_every_option_is_a_field_and_a_parameter(document: dict[str, Any]) -> None:
    """The form and the query of a conversion document every option."""
    operation = document["paths"]["/convert"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["checkpoint"]
    assert set(form["properties"]) == {"checkpoint", *Options.model_fields}
    named = {each["name"] for each in operation["parameters"]}
    assert named == {"Prefer", "filename", *Options.model_fields}
    assert all(each["description"] for each in form["properties"].values())


def test_a_key_is_asked_for_where_one_is_needed(tmp_path: Path) -> None:
    """With keys a conversion needs one; without, it is optional."""
    keys = tmp_path / "keys"
    keys.write_text("alice:s3cret-key\n")
    for api_keys_file in (keys, None):
        app = create_app(Settings(work_dir=tmp_path, api_keys_file=api_keys_file))
        security = app.openapi()["paths"]["/convert"]["post"]["security"]
        assert ({} in security) == (api_keys_file is None)
        app.state.context.workspace.close()


def test_operations_read_well(document: dict[str, Any]) -> None:
    """Each operation has a summary and a description, and says whether it needs a key."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            is_open = path in ("/livez", "/readyz", "/metrics", "/version")
            assert ("security" in operation) != is_open, path

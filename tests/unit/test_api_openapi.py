"""The OpenAPI document is complete: every error a problem, every body an example that is valid."""

import re
from typing import Any

import httpx
import pytest

from api import schemas
from api.app import create_app
from api.catalogue import CATALOGUE
from api.problems import PROBLEM_JSON, Problem
from infra.settings import Settings

DOCUMENT: dict[str, Any] = create_app(Settings()).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
SIGNED = {"POST /v1/bank-events/{bank}"}
"""Banks have no API key; their signature says who they are."""
GUARDED = {name: operation for name, operation in OPERATIONS.items() if " /v1/" in name and name not in SIGNED}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_error_is_a_problem_with_examples(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    for status, answer in operation["responses"].items():
        assert "X-Request-Id" in answer["headers"]
        if status < "400":
            continue
        assert list(answer["content"]) == [PROBLEM_JSON]
        content = answer["content"][PROBLEM_JSON]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        for code, example in content["examples"].items():
            problem = Problem.model_validate(example["value"])
            assert (problem.code, str(problem.status)) == (code, status)
            assert CATALOGUE[code].status == problem.status


@pytest.mark.parametrize("name", GUARDED)
def test_every_call_wants_a_key_and_says_what_happens_without(name: str) -> None:
    operation = GUARDED[name]
    assert operation["security"] == [{"ApiKey": []}]
    assert {"401", "400", "500", "503"} <= set(operation["responses"])
    if name.startswith("POST"):
        assert {"413", "415", "403"} <= set(operation["responses"])
        headers = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"]
        assert headers == ["Idempotency-Key"]


@pytest.mark.parametrize("name", SIGNED)
def test_what_a_bank_sends_wants_no_key_and_says_that_a_stranger_is_refused(name: str) -> None:
    assert "security" not in OPERATIONS[name]
    assert "bank_event_refused" in OPERATIONS[name]["responses"]["403"]["content"][PROBLEM_JSON]["examples"]


def test_every_success_has_a_schema() -> None:
    for name, operation in GUARDED.items():
        (success,) = [status for status in operation["responses"] if status < "300"]
        if success == "204":
            assert "content" not in operation["responses"][success], name
            continue
        assert operation["responses"][success]["content"]["application/json"]["schema"], name


@pytest.mark.parametrize(
    "model",
    [
        schemas.TransferBody,
        schemas.TransferBatchBody,
        schemas.BankPaymentBody,
        schemas.UserBody,
        schemas.BankLinkBody,
        schemas.ReasonBody,
    ],
    ids=lambda model: model.__name__,
)
def test_the_examples_of_bodies_are_valid(model: type[schemas.Body]) -> None:
    example = DOCUMENT["components"]["schemas"][model.__name__]["example"]
    assert model.model_validate(example).model_dump(exclude_none=True) == example


def test_no_schema_of_the_framework_is_left() -> None:
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]
    assert "422" not in OPERATIONS["GET /v1/wallets/{wallet_id}"]["responses"]


async def test_the_page_shows_every_call_and_asks_nobody_else() -> None:
    app = create_app(Settings())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api") as http:
        shown = await http.get("/docs")
    assert shown.headers["Content-Type"].startswith("text/html")
    for name in OPERATIONS:
        method, path = name.split(" ")
        assert f"{method}</span> <code>{path}</code>" in shown.text
    assert not re.search(r"(src|href|action)=[\"']?(https?:)?//|url\(", shown.text)
    assert "<script" not in shown.text

"""The OpenAPI document: every answer a route can give, each error with its problem and an example."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.catalogue import title_of
from api.middleware import REQUEST_ID_HEADER
from api.problems import PROBLEM_JSON, Problem
from domain.errors import (
    BodyTooLarge,
    CannotRelease,
    DuplicateItemKey,
    Forbidden,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InternalError,
    InvalidId,
    InvalidMoney,
    InvalidRequest,
    LedgerBusy,
    LedgerUnavailable,
    NotFound,
    NotOnOneShard,
    NotRecordedYet,
    RateLimited,
    SagapayError,
    SelfTransfer,
    Unauthenticated,
    UnknownCurrency,
    UnsupportedMediaType,
    WalletBusy,
    WorkflowsUnavailable,
)

Responses = dict[int | str, dict[str, Any]]
Kinds = Sequence[type[SagapayError]]

READS: Final[Kinds] = (
    InvalidRequest,
    InvalidId,
    Unauthenticated,
    NotFound,
    RateLimited,
    InternalError,
    LedgerUnavailable,
    LedgerBusy,
)
WRITES: Final[Kinds] = (
    InvalidRequest,
    InvalidId,
    IdempotencyKeyMissing,
    IdempotencyKeyInvalid,
    Unauthenticated,
    Forbidden,
    BodyTooLarge,
    UnsupportedMediaType,
    RateLimited,
    InternalError,
    LedgerUnavailable,
    LedgerBusy,
)
PAYMENTS: Final[Kinds] = (
    *WRITES,
    InvalidMoney,
    UnknownCurrency,
    NotFound,
    IdempotencyKeyReused,
    NotRecordedYet,
    WalletBusy,
    WorkflowsUnavailable,
)
TRANSFERS: Final[Kinds] = (*PAYMENTS, SelfTransfer)
BATCHES: Final[Kinds] = (
    *WRITES,
    InvalidMoney,
    UnknownCurrency,
    NotFound,
    IdempotencyKeyReused,
    SelfTransfer,
    DuplicateItemKey,
    NotOnOneShard,
)
HOLDS: Final[Kinds] = (*WRITES, InvalidMoney, UnknownCurrency, NotFound, IdempotencyKeyReused)
RELEASES: Final[Kinds] = (*WRITES, NotFound, CannotRelease)

LOCATION: Final = {"Location": {"description": "The new resource.", "schema": {"type": "string"}}}
REPLAYED: Final = {
    "Idempotent-Replayed": {
        "description": "Present where this key was answered before.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
_REQUEST_ID: Final = {
    REQUEST_ID_HEADER: {"description": "Finds this request in the logs.", "schema": {"type": "string"}}
}
_BY_STATUS_HEADERS: Final = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}},
}


def _example(kind: type[SagapayError]) -> dict[str, object]:
    value = {
        "type": f"/problems/{kind.code}",
        "title": title_of(kind.code),
        "status": kind.status,
        "detail": kind().detail,
        "code": kind.code,
        "trace_id": "req_0197f0c49a2e7c3f8f6a2b1c0d9e8f70",
    }
    return {"summary": kind().detail, "value": value}


def problems(kinds: Kinds) -> Responses:
    """The documented errors of a route, by status."""
    by_status: dict[int, list[type[SagapayError]]] = defaultdict(list)
    for kind in kinds:
        by_status[kind.status].append(kind)
    return {
        status: {
            "description": ", ".join(f"`{kind.code}`" for kind in found),
            "headers": _BY_STATUS_HEADERS.get(status, {}),
            "content": {
                PROBLEM_JSON: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {kind.code: _example(kind) for kind in found},
                }
            },
        }
        for status, found in sorted(by_status.items())
    }


def success(status: int, description: str, headers: dict[str, Any] | None = None) -> Responses:
    """The documented success of a route; the schema comes from its response model."""
    return {status: {"description": description, "headers": headers or {}}}


def _add_problem_schema(document: dict[str, Any]) -> None:
    _, definitions = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _clean_responses(operation: dict[str, Any]) -> None:
    # The framework documents a 422 of its own for every parameter; ours is a problem with status 400.
    responses = operation["responses"]
    framework = responses.get("422", {}).get("content", {}).get("application/json", {})
    if framework.get("schema", {}).get("$ref", "").endswith("HTTPValidationError"):
        del responses["422"]
    for found in responses.values():
        found["headers"] = {**found.get("headers", {}), **_REQUEST_ID}


def install(app: FastAPI) -> None:
    """Serve the document at /openapi.json, made when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            for path in found["paths"].values():
                for operation in path.values():
                    _clean_responses(operation)
            _add_problem_schema(found)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]

"""Errors as RFC 9457 problems: one shape for ours, the framework's and the unforeseen."""

from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.catalogue import title_of
from domain.errors import (
    BodyTooLarge,
    IdempotencyKeyInvalid,
    InternalError,
    InvalidCursor,
    InvalidId,
    InvalidMoney,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    SagapayError,
    Unauthenticated,
    Unavailable,
    UnknownCurrency,
    UnsupportedMediaType,
)
from infra.telemetry import request_id

PROBLEM_JSON: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = "1"
MAX_FIELDS: Final = 20

log = structlog.get_logger("api")


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    code: str
    detail: str


class DependencyState(BaseModel):
    """What readiness found out about one server."""

    status: str
    detail: str | None = None


class Problem(BaseModel):
    """An error as RFC 9457 has it. `code` is stable; `type` says more about it; `trace_id` finds it in the logs."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/invalid_amount",
                "title": "Invalid amount",
                "status": 400,
                "detail": "amount: Input should be greater than or equal to 1",
                "code": "invalid_amount",
                "trace_id": "req_0197f0c49a2e7c3f8f6a2b1c0d9e8f70",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    trace_id: str
    errors: list[FieldProblem] | None = Field(default=None, description="One item for each field that is wrong.")
    checks: dict[str, DependencyState] | None = Field(default=None, description="Only from /readyz.")


def problem_of(error: SagapayError, *, fields: Sequence[FieldProblem] = ()) -> Problem:
    """The problem that tells of an error."""
    return Problem(
        type=f"/problems/{error.code}",
        title=title_of(error.code),
        status=error.status,
        detail=error.detail,
        code=error.code,
        trace_id=request_id.get(),
        errors=list(fields) or None,
    )


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem on the wire, with the headers its status calls for."""
    extra = dict(headers or {})
    if problem.status == Unauthenticated.status:
        extra["WWW-Authenticate"] = 'Bearer realm="sagapay"'
    elif problem.status == Unavailable.status:
        extra["Retry-After"] = RETRY_AFTER_SECONDS
    content = problem.model_dump_json(exclude_none=True).encode()
    return Response(content, status_code=problem.status, headers=extra, media_type=PROBLEM_JSON)


class WrongFields(Exception):
    """A request refusal that names the fields it is about, all for the same reason."""

    def __init__(self, kind: type[SagapayError], fields: Sequence[FieldProblem]) -> None:
        self.kind = kind
        self.fields = fields[:MAX_FIELDS]
        super().__init__(kind.code)


def _problem_of_fields(kind: type[SagapayError], fields: Sequence[FieldProblem]) -> Response:
    detail = "; ".join(f"{found.field}: {found.detail}" for found in fields[:3])
    return problem_response(problem_of(kind(detail), fields=fields))


async def _on_wrong_fields(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WrongFields)
    return _problem_of_fields(error.kind, error.fields)


async def _on_sagapay_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SagapayError)
    if error.status == InternalError.status:
        log.error("request.broken", code=error.code, exc_info=error)
    after = {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, RateLimited) else None
    return problem_response(problem_of(error), after)


_BY_STATUS: Final[Mapping[int, type[SagapayError]]] = {
    401: Unauthenticated,
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
}


def _allowed(request: Request, error: HTTPException) -> Mapping[str, str] | None:
    """The answer's headers. The framework names the methods of one route, where a path may have several."""
    path = getattr(request.scope.get("route"), "path", None)
    methods = request.app.openapi()["paths"].get(path)
    if error.status_code != MethodNotAllowed.status or not methods:
        return error.headers
    return {"Allow": ", ".join(sorted(method.upper() for method in methods))}


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, InvalidRequest if error.status_code < 500 else InternalError)
    detail = "There is no such address." if kind is NotFound else None
    return problem_response(problem_of(kind(detail)), _allowed(request, error))


_BY_FIELD: Final[Mapping[str, type[InvalidRequest]]] = {
    "amount": InvalidMoney,
    "currency": UnknownCurrency,
    "cursor": InvalidCursor,
    "idempotency_key": IdempotencyKeyInvalid,
    "Idempotency-Key": IdempotencyKeyInvalid,
}
_ABOUT_THE_FORM: Final = frozenset({"missing", "extra_forbidden", "json_invalid"})


def _kind_of(kind: str, field: str) -> type[InvalidRequest]:
    if kind in _ABOUT_THE_FORM:
        return InvalidRequest
    if field.endswith("_id"):
        return InvalidId
    return _BY_FIELD.get(field, InvalidRequest)


def _field_problem(found: Mapping[str, object]) -> FieldProblem:
    place = found["loc"]
    assert isinstance(place, tuple)
    kind, message = str(found["type"]), str(found["msg"]).removeprefix("Value error, ")
    if kind == "json_invalid":
        return FieldProblem(field="body", code=InvalidRequest.code, detail="The body is not valid JSON.")
    inside = place[1:] or place
    field = ".".join(map(str, inside))
    return FieldProblem(field=field, code=_kind_of(kind, str(inside[-1])).code, detail=message)


_FIELD_KINDS: Final[tuple[type[InvalidRequest], ...]] = (InvalidRequest, InvalidId, *_BY_FIELD.values())
_BY_CODE: Final = {kind.code: kind for kind in _FIELD_KINDS}


async def _on_invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = [_field_problem(found) for found in error.errors()[:MAX_FIELDS]]
    codes = {found.code for found in fields}
    kind = _BY_CODE[codes.pop()] if len(codes) == 1 else InvalidRequest
    return _problem_of_fields(kind, fields)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem; what nobody foresaw is the middleware's."""
    app.add_exception_handler(SagapayError, _on_sagapay_error)
    app.add_exception_handler(WrongFields, _on_wrong_fields)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)

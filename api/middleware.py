"""Pure ASGI middleware: request ids, access log, metrics, the last net for errors, and the limit on bodies."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import LATENCY_SECONDS, REQUESTS
from api.problems import problem_of, problem_response
from api.rate_limits import headers_of, standings
from domain.errors import BodyTooLarge, InternalError
from infra.telemetry import accept_request_id, accept_trace, request_id, trace

MAX_BODY_BYTES: Final = 64 * 1024
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
BATCHES_PATH: Final = "/v1/transfer-batches"
REQUEST_ID_HEADER: Final = "X-Request-Id"
_HEADER: Final = REQUEST_ID_HEADER.lower().encode()
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", *_WITH_BODY})
_QUIET_ROUTES: Final = frozenset({"/livez", "/readyz", "/metrics"})

log = structlog.get_logger("api.access")


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first header of that (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


class _Meters:
    """Metric children by label values: looking them up in the library each time costs more than counting."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        key = (route, method, status)
        counter = self._requests.get(key)
        if counter is None:
            counter = self._requests[key] = REQUESTS.labels(route, method, status)
        counter.inc()
        histogram = self._seconds.get(key[:2])
        if histogram is None:
            histogram = self._seconds[key[:2]] = LATENCY_SECONDS.labels(route, method)
        histogram.observe(seconds)


@contextmanager
def _request_id_set(scope: Scope) -> Iterator[str]:
    current = accept_request_id(header_of(scope, _HEADER))
    token, traced = request_id.set(current), trace.set(accept_trace(header_of(scope, b"traceparent")))
    asked = standings.set([])
    try:
        yield current
    finally:
        request_id.reset(token)
        trace.reset(traced)
        standings.reset(asked)


class RequestContext:
    """Gives each request an id, one line in the log and a place in the metrics; an unforeseen error is a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._meters = _Meters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with _request_id_set(scope) as current:
            await self._observed(scope, receive, send, current.encode())

    async def _observed(self, scope: Scope, receive: Receive, send: Send, current: bytes) -> None:
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                limits = headers_of(standings.get() or ())
                message["headers"] = [*message["headers"], (_HEADER, current), *limits]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            log.exception("request.broken", path=scope["path"])
            if status:
                raise
            failure = InternalError() if not isinstance(error, TimeoutError) else InternalError("It took too long.")
            await problem_response(problem_of(failure))(scope, receive, send_with_id)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _KNOWN_METHODS else "other"
        self._meters.count(route, method, status, seconds)
        write = log.debug if route in _QUIET_ROUTES else log.info
        write(
            "request",
            method=method,
            path=scope["path"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            client_id=scope.get("sagapay.client_id"),
        )


class BodyLimit:
    """Reads a request's body before the application does, and refuses it at its first byte too many.

    It counts what arrives: a Content-Length may be missing (chunked bodies have none) or wrong.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        limit = MAX_BATCH_BYTES if scope["path"] == BATCHES_PATH else self._max_bytes
        try:
            body = await self._read(scope, receive, limit)
        except ClientDisconnect:
            return
        if body is None:
            refusal = problem_response(problem_of(BodyTooLarge()), {"Connection": "close"})
            await refusal(scope, receive, send)
            return
        waiting = [body]

        async def replay() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            return await receive()

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive, limit: int) -> bytes | None:
        promised = header_of(scope, b"content-length")
        if promised is not None and promised.isdecimal() and int(promised[:20]) > limit:
            return None
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > limit:
                return None
            if not message.get("more_body", False):
                return bytes(body)

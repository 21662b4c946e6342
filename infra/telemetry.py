"""Telemetry: structured logs without secrets, request ids, and the process's one Prometheus registry."""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from secrets import token_hex
from typing import Final

import orjson
import structlog
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from structlog.typing import EventDict, Processor, WrappedLogger
from uuid_utils import uuid7

REDACTED: Final = "[redacted]"
METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

request_id: ContextVar[str] = ContextVar("request_id", default="")

trace: ContextVar[str | None] = ContextVar("trace", default=None)
"""W3C traceparent of the request in hand."""

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_SANE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,128}")
_SECRET_NAMES: Final = re.compile(
    r"(^|_)(authorization|password|passwd|secret|token|api_key|plaintext|cookie|idempotency_key|email)$", re.IGNORECASE
)
_SECRET_VALUES: Final = (
    (re.compile(r"\bsk_[A-Za-z0-9_-]{6,}"), f"sk_{REDACTED}"),
    (re.compile(r"(?i)\bbearer\s+[^\s'\",]+"), f"Bearer {REDACTED}"),
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@"), rf"\1:{REDACTED}@"),
)
# Third-party loggers that say at INFO what our access log says better.
_QUIET: Final = ("httpx", "httpcore", "uvicorn.access", "alembic.runtime.plugins")


def accept_request_id(offered: str | None) -> str:
    """The caller's own request id where it is sane, else a new one."""
    if offered is not None and _SANE_REQUEST_ID.fullmatch(offered):
        return offered
    return f"req_{uuid7().hex}"


def accept_trace(offered: str | None) -> str:
    """The caller's own traceparent where it is one (W3C Trace Context, level 1), else that of a new trace."""
    if offered is not None and _TRACEPARENT.fullmatch(offered):
        return offered
    return f"00-{token_hex(16)}-{token_hex(8)}-00"


def redact_text(text: str) -> str:
    """`text` without API keys, bearer tokens and passwords in URLs."""
    # Nearly every text has none of these marks, and looking for them costs a tenth of the patterns.
    if "sk_" not in text and "://" not in text and "earer" not in text and "EARER" not in text:
        return text
    for pattern, replacement in _SECRET_VALUES:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _redact(value: object) -> object:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {
            key: REDACTED if isinstance(key, str) and _names_a_secret(key) else _redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redact(item) for item in value]
    return value


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: no value of a secret's name, and no secret inside any text, reaches the log."""
    for key, value in event.items():
        event[key] = REDACTED if value and _names_a_secret(key) else _redact(value)
    return event


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current:
        event.setdefault("request_id", current)
    return event


def _to_json(value: EventDict, **_options: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()


def _drop_color(_logger: WrappedLogger, _method: str, event: MutableMapping[str, object]) -> EventDict:
    event.pop("color_message", None)
    return event


def configure_logging(level: str, role: str, *, json: bool | None = None) -> None:
    """Send structlog's and the standard library's records to stderr, one line each, redacted.

    JSON unless stderr is a terminal (or `json` says). Every record carries `role`, and `request_id` where there is one.
    """
    as_json = not sys.stderr.isatty() if json is None else json

    def add_role(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["role"] = role
        return event

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_role,
        _add_request_id,
        _drop_color,
        structlog.processors.format_exc_info,
        redact,
    ]
    render: Processor = (
        structlog.processors.JSONRenderer(serializer=_to_json) if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def render_metrics() -> bytes:
    """The registry in Prometheus' text format."""
    return generate_latest(REGISTRY)

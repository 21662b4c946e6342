"""The forms that values of settings have; each says what it wants."""

import re
from typing import Annotated

from limits import parse
from pydantic import AfterValidator, Field

from domain.money import CURRENCIES


def _postgres_url(url: str) -> str:
    if not url.startswith("postgresql://"):
        raise ValueError("wants postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return url


def _redis_url(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("wants redis://HOST:PORT/NUMBER")
    return url


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("wants http://HOST:PORT")
    return url.rstrip("/")


def _address(text: str) -> str:
    if not re.fullmatch(r"[^\s/:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", text):
        raise ValueError("wants HOST:PORT")
    return text


def _mailbox(text: str) -> str:
    if not re.fullmatch(r"[^<>@\x00-\x1f]*<[!-~]+@[!-~]+>|[!-;=?-~]+@[!-;=?-~]+", text):
        raise ValueError("wants ADDRESS or NAME <ADDRESS>")
    return text


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("wants an ISO 4217 currency in use, e.g. USD")
    return code


def _rate(text: str | None) -> str | None:
    if not text:
        return None
    try:
        parse(text)
    except ValueError:
        raise ValueError("wants NUMBER/SPAN, e.g. 100/second or 2000/10minute") from None
    return text


PostgresUrl = Annotated[str, AfterValidator(_postgres_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=0, le=65535)]
Address = Annotated[str, AfterValidator(_address)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Currency = Annotated[str, AfterValidator(_currency)]
RateLimit = Annotated[str, AfterValidator(_rate)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

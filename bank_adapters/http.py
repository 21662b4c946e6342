"""Asking a bank over HTTP: which failures are certain, and which leave the outcome unknown."""

from typing import Final

import httpx

from domain.errors import BankUnavailable, BankUnknown

# A bank that says so has not looked at the request. A bare 503 may come from a proxy before a bank that acted.
NOT_PROCESSED_HEADER: Final = "X-Not-Processed"

# Raised before a byte of the request has left: no connection, or none free in our own pool.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_BUSY: Final = frozenset({429, 503})
_ANSWERED: Final = range(200, 300)

LONGEST_RETRY_AFTER_SECONDS: Final = 300
"""A bank that wants to be left alone for longer is asked again all the same."""


def http_client(base_url: str, timeout_seconds: float) -> httpx.AsyncClient:
    """A pooled client: no redirects (a payment is never sent elsewhere), no retries, no proxy of the environment.

    Idle connections go before the bank would close them, or a request could meet the closing and end as unknown.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=httpx.Timeout(timeout_seconds),
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=20),
        follow_redirects=False,
        trust_env=False,
    )


async def send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """The bank's answer, whatever its status, unless that leaves things open.

    Raises BankUnavailable if the bank certainly did not process the request, BankUnknown if it may have.
    """
    try:
        response = await client.send(request)
    except _NOT_SENT as error:
        raise BankUnavailable(f"the bank was not reached: {_name(error)}") from error
    except httpx.HTTPError as error:
        raise BankUnknown(f"no answer after sending: {_name(error)}") from error
    if response.status_code in _BUSY and response.headers.get(NOT_PROCESSED_HEADER, "").lower() == "true":
        raise BankUnavailable(f"the bank answered {response.status_code}: not processed", _retry_after(response))
    if response.status_code in _ANSWERED or 400 <= response.status_code < 500:
        return response
    raise BankUnknown(f"the bank answered {response.status_code}", _retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    """What the bank asks for in seconds (RFC 9110, section 10.2.3), within reason; a date is taken for no answer."""
    told = response.headers.get("Retry-After", "")
    return min(int(told), LONGEST_RETRY_AFTER_SECONDS) if told.isascii() and told.isdigit() else None


def _name(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()

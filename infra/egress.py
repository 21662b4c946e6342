"""Requests to addresses that customers name: to public ones alone, in a bounded time, reading a bounded answer.

The name is resolved here and the connection goes to the address that was looked at, so no second answer of the name
server can lead elsewhere. Redirects are not followed. Certificates are checked against the name.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpcore

LONGEST_SECONDS: Final = 15.0
"""For everything: name, connection, request, and as much of the answer as is read."""
CONNECT_SECONDS: Final = 5.0
MOST_BYTES: Final = 16 * 1024
"""Read of an answer; the rest interests nobody."""
MAX_CONNECTIONS: Final = 512
MAX_KEPT: Final = 64
KEPT_SECONDS: Final = 30.0

# Public themselves, but with another address inside: NAT64, 6to4, Teredo.
_EMBEDDING: Final = tuple(
    ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)


class EgressFailed(Exception):
    """The request did not get an answer; the words are for whoever owns the address."""


class AddressRefused(EgressFailed):
    """The name leads to an address that is not a public one."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer's status, and how long it asks to be left alone, where it does."""

    status: int
    retry_after_seconds: int | None


def is_public(address: str) -> bool:
    """Whether it is an address of the public Internet."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if any(found in network for network in _EMBEDDING):
            return False
    return found.is_global and not found.is_multicast


class _PublicNetwork(httpcore.AsyncNetworkBackend):
    def __init__(self, *, allow_private: bool) -> None:
        self._network = httpcore.AnyIOBackend()
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  -- the interface's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise EgressFailed("the host's name is not known") from None
        addresses = list(dict.fromkeys(str(place[4][0]) for place in found))
        # One private address among public ones is as suspicious as nothing but private ones.
        if not self._allow_private and not all(map(is_public, addresses)):
            raise AddressRefused("the host's address is not a public one")
        return await self._network.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("the host's address is not a public one")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class Egress:
    """Posts to addresses that customers name."""

    def __init__(self, *, allow_private: bool = False, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._longest_seconds = longest_seconds
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_KEPT,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=_PublicNetwork(allow_private=allow_private),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """The answer's status, whatever it is. Raises EgressFailed."""
        try:
            async with asyncio.timeout(self._longest_seconds):
                return await self._post(url, headers, body)
        except TimeoutError:
            raise EgressFailed(f"no whole answer within {self._longest_seconds:g} s") from None
        except httpcore.ConnectTimeout:
            raise EgressFailed("no connection in time") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError) as error:
            raise EgressFailed(_words_of(error)) from None
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol, ValueError):
            raise EgressFailed("the answer is not HTTP") from None

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answered:
        extensions = {"timeout": {"connect": CONNECT_SECONDS, "pool": self._longest_seconds}}
        sent = [*headers.items(), ("Content-Length", str(len(body)))]
        async with self._pool.stream("POST", url, headers=sent, content=body, extensions=extensions) as response:
            read = 0
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read > MOST_BYTES:
                    break
            return Answered(response.status, _retry_after(response.headers))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


def _words_of(error: BaseException) -> str:
    if "certificate" in str(error).lower():
        return "the certificate is not good for this host"
    return "the connection was refused or broke"


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 8:
            return int(value)
    return None

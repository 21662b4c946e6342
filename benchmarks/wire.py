"""The load generator's HTTP client: keep-alive connections to one server, as many as are needed at once.

An open loop must never queue behind its own client, and the generator shares its cores with what it measures: this
costs a fraction of a general client's time a request.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

MAX_IDLE_SECONDS = 2.0
"""Servers close idle connections after five or more; a request must not meet the closing of one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0


class Wire:
    """Sends requests to the server of `url`. Raises OSError or EOFError where it does not answer."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        common = {"Host": parts.netloc, "Content-Type": "application/json", **(headers or {})}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in common.items())
        self._idle: list[_Connection] = []
        self._opened: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._opened:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def call(self, method: str, path: str, body: bytes = b"") -> Answer:
        """One request and its whole answer."""
        connection = await self._take()
        try:
            head = f"{method} {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
            connection.writer.write(head.encode() + body)
            answer = await _read(connection.reader)
        except BaseException:
            connection.writer.close()
            raise
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        return answer

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()  # The one used last, so that the others grow old and go.
            if time.monotonic() - connection.idle_since < MAX_IDLE_SECONDS and not connection.reader.at_eof():
                return connection
            connection.writer.close()
        reader, writer = await asyncio.open_connection(self._host, self._port)
        self._opened.append(writer)
        return _Connection(reader, writer)


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
    return Answer(int(first.split()[1]), await reader.readexactly(length))

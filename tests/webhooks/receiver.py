"""An app's server, good or malicious: it keeps what it is sent and answers as a test says."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def says(status: int, *headers: str) -> Behaviour:
    """Answer with a status at once."""
    lines = [f"HTTP/1.1 {status} As told", "Content-Length: 2", *headers, "", "ok"]

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode())
        await writer.drain()

    return answer


async def hangs(_writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    """Close without an answer."""
    writer.close()


async def talks_nonsense(writer: asyncio.StreamWriter) -> None:
    """Answer with something that is not HTTP."""
    writer.write(b"220 mail.example.com ESMTP\r\n")
    writer.close()


async def never_ends(writer: asyncio.StreamWriter) -> None:
    """Answer 200 with a body that goes on for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def drips(writer: asyncio.StreamWriter) -> None:
    """Answer with headers that go on for ever, a few bytes at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: again\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """Where it listens, what has come, and what it does next: `then` once each, afterwards `always`."""

    port: int
    scheme: str = "http"
    always: Behaviour = field(default_factory=lambda: says(200))
    then: list[Behaviour] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}/hooks"

    def ids(self) -> list[str]:
        """The ids of all that has come, in order."""
        return [received.headers["webhook-id"] for received in self.received]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.received.append(Received(first.split()[1], headers, body))
                await (self.then.pop(0) if self.then else self.always)(writer)
        writer.close()


@asynccontextmanager
async def receiving(certificate: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A server on a port of its own, for as long as the block takes."""
    receiver = Receiver(0, "https" if certificate else "http")
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=certificate)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for connection in receiver.connections:
            connection.cancel()
        await asyncio.gather(*receiver.connections)

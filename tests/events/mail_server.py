"""A real SMTP server of a test's own, on the test's event loop: it keeps what it takes, and fails as it is told."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from infra.local.probes import free_ports

OK = "250 OK"
SENDER = "Sagapay <no-reply@wallets.example>"


@dataclass
class MailServer:
    """Answers `answers[address]`, one after the other, before it takes mail for that address.

    `before_taking` is awaited when a mail is whole, before the server says that it has it.
    """

    port: int
    tls: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None
    mails: list[EmailMessage] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)
    before_taking: Callable[[], Awaitable[None]] | None = None
    logins: int = 0
    _listening: asyncio.Server | None = None
    _connections: list["_Connection"] = field(default_factory=list)

    def settings(self, **more: object) -> dict[str, object]:
        """Settings that send over this server, without any privacy unless `more` says so."""
        own = {"smtp_host": "127.0.0.1", "smtp_port": self.port, "smtp_security": "none", "smtp_from": SENDER}
        return {**own, **more}

    async def start(self) -> None:
        """Listen at `port`."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: _Connection(self, loop), "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Nobody listens any more, and every connection is cut."""
        if self._listening is None:
            return
        self._listening.close()
        for connection in self._connections:
            if connection.transport is not None:
                connection.transport.abort()  # type: ignore[attr-defined]
        self._connections.clear()
        await self._listening.wait_closed()
        self._listening = None

    def taken(self) -> Counter[tuple[str, str]]:
        """How often which address got which subject."""
        return Counter((mail["To"], mail["Subject"]) for mail in self.mails)

    def ids(self) -> list[str]:
        """The Message-IDs, in the order of arrival."""
        return [mail["Message-ID"] for mail in self.mails]

    async def handle_RCPT(  # noqa: N802  -- named by the protocol
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.answers.get(address):
            return self.answers[address].pop(0)
        envelope.rcpt_tos.append(address)
        return OK

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        assert envelope.rcpt_tos == [mail["To"]]
        self.mails.append(mail)
        if self.before_taking is not None:
            await self.before_taking()
        return OK

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, auth_data: object
    ) -> AuthResult:
        """Compare with `login`."""
        assert isinstance(auth_data, LoginPassword)
        given = (auth_data.login.decode(), auth_data.password.decode())
        self.logins += given == self.login
        return AuthResult(success=given == self.login)


class _Connection(SMTP):
    def __init__(self, server: MailServer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            hostname="mail.example.com",
            tls_context=server.tls,
            require_starttls=server.tls is not None,
            auth_required=server.login is not None,
            authenticator=server.authenticate,
            loop=loop,
        )
        server._connections.append(self)


@asynccontextmanager
async def mail_server(
    tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None
) -> AsyncIterator[MailServer]:
    """A server that listens for as long as the block takes, at a port of its own."""
    (port,) = free_ports(1)
    server = MailServer(port, tls, login)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()

"""E-mail over SMTP (RFC 5321): one connection for a few messages, and ids that are made of their events'."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from typing import Final

from aiosmtplib import SMTP, SMTPException, SMTPRecipientsRefused, SMTPResponseException
from aiosmtplib.errors import SMTPDataError

from domain.errors import SettingsInvalid
from domain.notifications import ChannelName
from events.notification_channels import ChannelDown, Message, NotTaken, Recipient, Refused
from infra.settings import Settings

_PERMANENT: Final = range(500, 600)
_ON_THE_WIRE: Final = SMTP_POLICY.clone(max_line_length=990)
"""A header stays on its line: there are servers that do not find a Message-ID that was folded."""


class EmailChannel:
    """The server that the settings name. Raises SettingsInvalid where they name none, or no password that is there."""

    name = ChannelName.EMAIL

    def __init__(self, settings: Settings) -> None:
        if settings.smtp_host is None or settings.smtp_from is None:
            raise SettingsInvalid("SAGAPAY_SMTP_HOST and SAGAPAY_SMTP_FROM are wanted to send e-mail")
        self.message_seconds = settings.smtp_timeout_seconds
        self._settings = settings
        self._password = _password(settings)
        self._from = settings.smtp_from
        _, self._sender = parseaddr(settings.smtp_from)
        self._domain = self._sender.rpartition("@")[2]

    def address_of(self, recipient: Recipient) -> str | None:
        """The user's e-mail address, whatever its form."""
        return recipient.email or None

    @asynccontextmanager
    async def session(self) -> AsyncIterator["EmailSession"]:
        """A connection on which the server has said hello, encrypted and logged in as the settings want it."""
        smtp = self._client()
        try:
            async with asyncio.timeout(self.message_seconds):
                await smtp.connect()
        except (SMTPException, OSError, ValueError) as error:
            smtp.close()
            raise ChannelDown(_words(error)) from error
        try:
            async with smtp:
                yield EmailSession(self, smtp)
        finally:
            smtp.close()

    def _client(self) -> SMTP:
        settings = self._settings
        return SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            use_tls=settings.smtp_security == "tls",
            start_tls=settings.smtp_security == "starttls",
            cert_bundle=str(settings.smtp_ca_file) if settings.smtp_ca_file else None,
            username=settings.smtp_username,
            password=self._password,
            local_hostname=self._domain,
            timeout=self.message_seconds,
        )

    def mail_of(self, message: Message) -> bytes:
        """The message as it goes out, the same to the last byte at every attempt; ASCII alone. Raises Refused."""
        mail = EmailMessage()
        mail["From"] = self._from
        mail["To"] = _address(message.address)
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(message.event_time)
        mail["Message-ID"] = f"<{message.event_id}.{message.kind}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nothing answers this by itself
        mail.set_content(message.body, cte="quoted-printable")
        return mail.as_bytes(policy=_ON_THE_WIRE)

    @property
    def sender(self) -> str:
        """The address that the server tells of what it could not deliver."""
        return self._sender


class EmailSession:
    """A connection to the server."""

    def __init__(self, channel: EmailChannel, smtp: SMTP) -> None:
        self._channel, self._smtp = channel, smtp

    async def send(self, message: Message) -> None:
        """Returns when the server has taken the message. Raises NotTaken and Refused."""
        mail = self._channel.mail_of(message)
        try:
            async with asyncio.timeout(self._channel.message_seconds):
                await self._smtp.sendmail(self._channel.sender, [message.address], mail)
        except SMTPRecipientsRefused as refused:
            raise self._verdict(refused.recipients[0]) from refused
        except SMTPDataError as refused:
            raise self._verdict(refused) from refused
        except SMTPResponseException as refused:
            # What it says of the sender, or of commands, is no fault of the message's.
            raise self._not_taken(refused) from refused
        except ValueError as error:
            raise Refused(_words(error)) from error
        except (SMTPException, OSError) as error:
            raise NotTaken(_words(error), broken=True) from error

    def _verdict(self, answer: SMTPResponseException) -> NotTaken | Refused:
        """RFC 5321, 4.2.1: 5 and two digits is for ever, 4 and two digits for now."""
        return Refused(_words(answer)) if answer.code in _PERMANENT else self._not_taken(answer)

    def _not_taken(self, answer: SMTPResponseException) -> NotTaken:
        """For now. After some answers (421) the server closes the connection."""
        return NotTaken(_words(answer), broken=not self._smtp.is_connected)


def _words(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error) or type(error).__name__


def _address(text: str) -> Address:
    try:
        text.encode("ascii")
        return Address(addr_spec=text)
    except (ValueError, IndexError, MessageError):
        # The parser says of some malformed addresses that an index is out of range.
        raise Refused("the address is malformed") from None


def _password(settings: Settings) -> str | None:
    if settings.smtp_password_file is None:
        return None
    try:
        return settings.smtp_password_file.read_text().strip()
    except OSError as error:
        raise SettingsInvalid(f"SAGAPAY_SMTP_PASSWORD_FILE: {settings.smtp_password_file}: {error.strerror}") from None

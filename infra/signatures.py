"""Standard Webhooks 1.0.0: who has a shared secret signs, and who has it tells that a message is theirs and fresh."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import Final

from domain.errors import BankEventRefused, SettingsInvalid
from infra.settings import Settings

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE: Final = timedelta(minutes=5)
"""A message that was signed longer ago, or that far in the future, may be somebody's recording."""

PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = range(24, 65)
_LONGEST_ID: Final = 128


def secrets_file(settings: Settings) -> Path:
    """Where the simulated bank's webhook secrets are: what the settings name, or those of development."""
    return settings.bank_webhook_secrets_file or settings.state_dir / "bank_webhook_secrets"


def read_secrets(file: Path) -> tuple[bytes, ...]:
    """The secrets in a file, a line each: while they are rotated there are two. Raises SettingsInvalid."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
        found = tuple(map(secret_bytes, lines))
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be read ({error.strerror}): it wants webhook secrets") from None
    except ValueError:
        found = ()
    if not found or not all(len(secret) in _SECRET_BYTES for secret in found):
        raise SettingsInvalid(f"{file} wants a line for each webhook secret: {PREFIX}BASE64, 24 to 64 bytes")
    return found


def new_secret() -> str:
    """A secret as it is written down."""
    return PREFIX + b64encode(token_bytes(32)).decode()


def secret_bytes(written: str) -> bytes:
    """A secret that `new_secret` wrote, as it signs."""
    return b64decode(written.removeprefix(PREFIX), validate=True)


def signed(secrets: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a message, signed with each secret."""
    timestamp = str(int(at.timestamp()))
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: " ".join(_signature(secret, message_id, timestamp, body) for secret in secrets),
    }


def verified(secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The id of a message that was signed with one of the secrets, just now. Raises BankEventRefused.

    `headers` are asked for by their names in lower case.
    """
    message_id, timestamp = headers.get(ID_HEADER, ""), headers.get(TIMESTAMP_HEADER, "")
    if not 0 < len(message_id) <= _LONGEST_ID or not message_id.isascii() or not message_id.isprintable():
        raise BankEventRefused(f"The header {ID_HEADER} is missing, or no id.")
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12:
        raise BankEventRefused(f"The header {TIMESTAMP_HEADER} is missing, or no time.")
    if abs(now - datetime.fromtimestamp(int(timestamp), UTC)) > TOLERANCE:
        raise BankEventRefused("The message was signed too long ago, or by a clock that is wrong.")
    given = headers.get(SIGNATURE_HEADER, "").encode().split()
    for secret in secrets:
        expected = _signature(secret, message_id, timestamp, body).encode()
        if any(hmac.compare_digest(expected, signature) for signature in given):
            return message_id
    raise BankEventRefused("The signature is not the bank's.")


def _signature(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    return f"v1,{b64encode(hmac.new(secret, content, sha256).digest()).decode()}"

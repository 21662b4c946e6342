"""What the bank tells by itself: a signed message for each payment that settled, was refused or came back.

Messages are written down by triggers in the commit of what they tell (schema.py), and sent until they are taken. Told
to, the bank loses some, sends some twice, and some late, after younger ones.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import httpx

from bank_adapters.simulator import faults
from bank_adapters.simulator.database import Database, Session, to_moment
from bank_adapters.simulator.faults import FaultKind, Operation, Taken
from domain.clock import SystemClock
from infra.settings import Settings
from infra.signatures import read_secrets, secrets_file, signed

PAUSE_SECONDS: Final = 0.2
LATE_SECONDS: Final = 3.0
GROUP: Final = 50
MOST_ATTEMPTS: Final = 12
_TIMEOUT_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 60
_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message that is due. Times are microseconds since 1970."""

    notice_id: int
    event_id: str
    type: str
    reference: str
    payment_id: str
    account_id: str | None
    occurred_at: int
    attempts: int

    def body(self) -> bytes:
        """As it goes over the wire."""
        message = {
            "type": self.type,
            "timestamp": to_moment(self.occurred_at).isoformat(),
            "data": {"reference": self.reference, "payment_id": self.payment_id},
        }
        return json.dumps(message, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where notices go, and the secrets that sign them."""

    url: str
    secrets: tuple[bytes, ...]

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """None where the settings name no address. Raises SettingsInvalid where there is no secret."""
        if settings.bank_webhook_url is None:
            return None
        return cls(settings.bank_webhook_url, read_secrets(secrets_file(settings)))


async def send_for_ever(database: Database, destination: Destination) -> None:
    """Send whatever is due, until cancelled."""
    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False, follow_redirects=False) as client:
        while True:
            for notice, times in await database.run(due):
                taken = [await _send(client, destination, notice) for _ in range(times)]
                await database.run(lambda session, notice=notice, taken=taken: note(session, notice, all(taken)))  # type: ignore[misc]
            await asyncio.sleep(PAUSE_SECONDS)


def due(session: Session) -> list[tuple[Notice, int]]:
    """Messages to send now, and how many times each."""
    rows = session.connection.execute(
        "SELECT notice_id, event_id, type, reference, payment_id, account_id, occurred_at, attempts FROM notices"
        " WHERE sent_at IS NULL AND due_at <= ? ORDER BY due_at, notice_id LIMIT ?",
        (session.now, GROUP),
    ).fetchall()
    found = []
    for notice in (Notice(**dict(row)) for row in rows):
        struck = _struck(session, notice)
        if FaultKind.WEBHOOK_LOST in struck:
            note(session, notice, taken=True)
        elif FaultKind.WEBHOOK_LATE in struck:
            _wait(session, notice, struck[FaultKind.WEBHOOK_LATE].seconds or LATE_SECONDS)
        else:
            found.append((notice, 2 if FaultKind.WEBHOOK_TWICE in struck else 1))
    return found


def _struck(session: Session, notice: Notice) -> Taken:
    if notice.attempts:
        return {}
    return faults.take(session, Operation.WEBHOOK, lambda _: notice.account_id, faults.TELLING)


async def _send(client: httpx.AsyncClient, destination: Destination, notice: Notice) -> bool:
    body = notice.body()
    headers = signed(destination.secrets, notice.event_id, SystemClock().now(), body)
    with suppress(httpx.HTTPError):
        answer = await client.post(
            destination.url, content=body, headers={**headers, "content-type": "application/json"}
        )
        return answer.is_success
    return False


def note(session: Session, notice: Notice, taken: bool) -> None:
    """A message was sent: it is done with if it was `taken`, or after so many attempts; else it is sent again."""
    if taken or notice.attempts + 1 >= MOST_ATTEMPTS:
        session.connection.execute(
            "UPDATE notices SET sent_at = ? WHERE notice_id = ?", (session.now, notice.notice_id)
        )
    else:
        _wait(session, notice, min(2**notice.attempts, _LONGEST_PAUSE_SECONDS))


def _wait(session: Session, notice: Notice, seconds: float) -> None:
    session.connection.execute(
        "UPDATE notices SET attempts = attempts + 1, due_at = ? WHERE notice_id = ?",
        (session.now + round(seconds * _MICROS), notice.notice_id),
    )

"""What people want to be told, and over what. Everything is wanted until they say otherwise."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ids import UserId
from domain.notifications import ChannelName, NotificationKind
from infra.database import reading, transaction

Choice = tuple[NotificationKind, ChannelName]

CHOICES: Final[tuple[Choice, ...]] = tuple((kind, channel) for kind in NotificationKind for channel in ChannelName)

_READ: Final = text("SELECT unwanted FROM notifications.preferences WHERE user_id = :user_id")
_WRITE: Final = text("""
    INSERT INTO notifications.preferences AS p (user_id, unwanted) VALUES (:user_id, :unwanted)
    ON CONFLICT (user_id) DO UPDATE SET unwanted = excluded.unwanted, updated_at = now()
""")


def stored(choice: Choice) -> str:
    """A choice as the database has it."""
    kind, channel = choice
    return f"{kind}:{channel}"


async def unwanted_by(engine: AsyncEngine, user_id: UserId) -> frozenset[Choice]:
    """What this user does not want. Raises LedgerUnavailable."""
    async with reading(engine) as connection:
        found = await connection.scalar(_READ, {"user_id": user_id.uuid})
    return frozenset(choice for choice in CHOICES if stored(choice) in (found or ()))


async def prefer(engine: AsyncEngine, user_id: UserId, unwanted: Iterable[Choice]) -> None:
    """Say all that a user does not want, instead of what was said before. Raises LedgerUnavailable."""
    parameters = {"user_id": user_id.uuid, "unwanted": sorted(stored(choice) for choice in unwanted)}
    async with transaction(engine) as connection:
        await connection.execute(_WRITE, parameters)

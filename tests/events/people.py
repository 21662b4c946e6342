"""People with wallets and e-mail addresses, for tests of who is told what."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Self
from uuid import uuid4

from domain.contracts.payments import IdempotencyRecord
from domain.ids import UserId, WalletId
from infra.settings import Settings
from ledger.directory import Directory, NewUser
from ledger.service import LedgerService
from tests.money.requests import Client


@dataclass(frozen=True)
class Someone:
    """A user."""

    user_id: UserId
    wallet_id: WalletId
    name: str
    email: str


class People:
    """The users of one client, with their wallets. `client` pays for them."""

    def __init__(self, directory: Directory, client: Client) -> None:
        self.client = client
        self._directory = directory

    @classmethod
    async def of(cls, settings: Settings, ledger: LedgerService) -> Self:
        """Of a client that is new."""
        directory = Directory.from_settings(settings)
        return cls(directory, Client(ledger, await directory.create_client("tests")))

    async def add(self, name: str, email: str | None = None, *, balance: int = 0) -> Someone:
        """A user with an address of their own, and a wallet with `balance` minor units."""
        email = email if email is not None else f"{name.lower()}.{uuid4().hex[:8]}@example.com"
        digest = sha256(uuid4().bytes).hexdigest()
        new = NewUser(client_id=self.client.client_id, currency="USD", name=name, email=email)
        key = IdempotencyRecord(key_digest=digest[:32], fingerprint=digest)
        user, _ = await self._directory.create_user(new, key)
        await self.client.ledger.open_wallet(user.wallet_id, user.user_id, user.client_id, user.currency)
        if balance:
            await self.client.deposit(user.wallet_id, balance)
        return Someone(user.user_id, user.wallet_id, name, email)

    async def aclose(self) -> None:
        """Let go of the directory."""
        await self._directory.aclose()

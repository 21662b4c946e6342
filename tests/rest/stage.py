"""The API in this process with everything behind it, and short ways to say what a client does."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI
from redis.asyncio import Redis
from temporalio.client import Client

from api.app import create_app
from api.backends import Backends
from bank_adapters.registry import bank_names, open_bank
from domain.ids import ClientId
from infra.secrets import Cipher
from infra.settings import Settings
from infra.temporal import connect
from ledger.batches import Batches
from ledger.directory import Directory, Scope
from ledger.local import LocalLedger
from tests.stack.bank import BankProcess
from worker import build_transfer_worker, build_workers

WAIT_SECONDS = 30
OPENING_BALANCE = 100_000_00


def new_key() -> str:
    """An idempotency key nobody has used."""
    return uuid4().hex


class Caller:
    """A client of the API with one key. Every call returns the raw response."""

    def __init__(self, app: FastAPI, api_key: str | None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers, timeout=60)

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        """GET."""
        return await self.http.get(path, params=query or None)

    async def post(self, path: str, body: object, key: str | None = None) -> httpx.Response:
        """POST a body as JSON, with a fresh idempotency key unless one is given; "" sends none."""
        chosen = new_key() if key is None else key
        return await self.http.post(path, json=body, headers={"Idempotency-Key": chosen} if chosen else {})


@dataclass(frozen=True)
class Person:
    """A user with a wallet and, once linked, a bank account."""

    user_id: str
    wallet_id: str
    bank_account_id: str = ""


class Stage:
    """A running API; `app`, `other` and `operator` are callers of two clients and an operator."""

    def __init__(self, api: FastAPI, settings: Settings, temporal: Client, bank: BankProcess) -> None:
        self.api, self.settings, self.temporal, self.bank = api, settings, temporal, bank
        self.backends: Backends = api.state.backends
        self.redis = Redis.from_url(settings.redis_url)
        self.app: Caller
        self.other: Caller
        self.operator: Caller
        self.client_id: ClientId
        self.app_key = ""

    async def introduce(self) -> None:
        """Make two clients and an operator."""
        directory = self.backends.directory
        self.client_id = await directory.create_client("tests")
        other_id = await directory.create_client("others")
        self.app_key = await directory.create_key(self.client_id, Scope.APP, "tests")
        self.app = self.caller(self.app_key)
        self.other = self.caller(await directory.create_key(other_id, Scope.APP, "others"))
        self.operator = self.caller(await directory.create_key(other_id, Scope.OPERATOR, "operators"))

    def caller(self, api_key: str | None) -> Caller:
        """A caller with a key of its own."""
        return Caller(self.api, api_key)

    async def person(self, caller: Caller | None = None) -> Person:
        """A new user with an empty wallet."""
        response = await (caller or self.app).post("/v1/users", {"name": "Ada", "email": "ada@example.com"})
        assert response.status_code == 201, response.text
        return Person(response.json()["user_id"], response.json()["wallet_id"])

    async def linked(self, opening_balance: int = OPENING_BALANCE) -> Person:
        """A new user with a bank account that has `opening_balance` minor units."""
        person = await self.person()
        link = await self.app.post("/v1/bank-links", {"user_id": person.user_id})
        async with self.bank.admin() as admin:
            approval = await admin.approve(link.json()["link_token"], opening_balance=opening_balance)
        body = {"user_id": person.user_id, "public_token": approval.public_token}
        account = await self.app.post("/v1/bank-accounts", body)
        assert account.status_code == 201, account.text
        return Person(person.user_id, person.wallet_id, account.json()["bank_account_id"])

    async def funded(self, minor_units: int = 10_000) -> Person:
        """A new user whose wallet holds `minor_units`, deposited from their bank."""
        person = await self.linked()
        deposit = await self.app.post("/v1/deposits", self.bank_body(person, minor_units))
        assert deposit.status_code == 202, deposit.text
        done = await self.app.get(deposit.headers["Location"], wait=WAIT_SECONDS)
        assert done.json()["status"] == "succeeded", done.text
        return person

    def bank_body(self, person: Person, amount: object = 100, currency: str = "USD") -> dict[str, Any]:
        """The body of a deposit or withdrawal."""
        return {
            "wallet_id": person.wallet_id,
            "bank_account_id": person.bank_account_id,
            "amount": amount,
            "currency": currency,
        }

    def transfer_body(self, sender: Person, receiver: Person, amount: object = 100) -> dict[str, Any]:
        """The body of a transfer."""
        return {
            "sender_id": sender.wallet_id,
            "receiver_id": receiver.wallet_id,
            "amount": amount,
            "currency": "USD",
        }

    async def posted(self, person: Person) -> int:
        """A wallet's posted balance, from the API."""
        response = await self.app.get(f"/v1/wallets/{person.wallet_id}")
        return int(response.json()["balance"]["posted"])

    async def entries(self, person: Person) -> list[dict[str, Any]]:
        """A wallet's statement, from the API."""
        response = await self.app.get(f"/v1/wallets/{person.wallet_id}/entries", limit=200)
        found: list[dict[str, Any]] = response.json()["entries"]
        return found

    async def aclose(self) -> None:
        """Close the connections of the stage itself."""
        for caller in (self.app, self.other, self.operator):
            await caller.http.aclose()
        await self.redis.aclose()


@asynccontextmanager
async def staged(settings: Settings, bank: BankProcess) -> AsyncIterator[Stage]:
    """The API with its own transfer worker, and the workers of every other queue, in this process."""
    temporal = await connect(settings)
    api = create_app(settings, build_transfer_worker)
    async with AsyncExitStack() as stack:
        ledger = LocalLedger(settings)
        stack.push_async_callback(ledger.aclose)
        banks = {name: open_bank(name, settings) for name in bank_names()}
        for adapter in banks.values():
            stack.push_async_callback(adapter.aclose)
        directory = Directory(ledger.shards.all[0].engine, Cipher.from_settings(settings))
        for part in build_workers(temporal, ledger, directory, Batches(ledger.shards), banks, settings=settings):
            await stack.enter_async_context(part)
        await stack.enter_async_context(api.router.lifespan_context(api))
        stage = Stage(api, settings, temporal, bank)
        await stage.introduce()
        stack.push_async_callback(stage.aclose)
        yield stage

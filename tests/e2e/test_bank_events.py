"""The simulated bank tells the running platform of payments: once, twice, late, never, and while a worker is dead."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from bank_adapters.simulator.client import BankAdmin
from bank_adapters.simulator.faults import FaultKind, Operation
from tests.stack.platform import Platform, until

pytestmark = pytest.mark.slow

WAIT_SECONDS = 30
PATIENCE_SECONDS = 60.0


class App:
    """An app with one user, who has linked a bank account."""

    def __init__(self, platform: Platform, http: httpx.Client) -> None:
        self.platform, self.http = platform, http
        self.wallet_id = self.bank_account_id = self.at_bank = ""

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST under a new key."""
        response = self.http.post(path, json=body, headers={"Idempotency-Key": uuid4().hex})
        assert response.is_success, response.text
        found: dict[str, Any] = response.json()
        return found

    async def link(self) -> None:
        """A user and their account."""
        user = self.post("/v1/users", {"name": "Ada", "email": "ada@example.com"})
        link = self.post("/v1/bank-links", {"user_id": user["user_id"]})
        async with BankAdmin(self.platform.bank_url) as admin:
            approval = await admin.approve(link["link_token"], opening_balance=100_000)
        body = {"user_id": user["user_id"], "public_token": approval.public_token}
        self.wallet_id, self.at_bank = user["wallet_id"], approval.account_id
        self.bank_account_id = self.post("/v1/bank-accounts", body)["bank_account_id"]

    def deposit(self) -> str:
        """The id of a deposit that the bank has."""
        body = {
            "wallet_id": self.wallet_id,
            "bank_account_id": self.bank_account_id,
            "amount": 500,
            "currency": "USD",
        }
        return str(self.post("/v1/deposits", body)["transaction_id"])

    def succeeded(self, transaction_id: str) -> bool:
        """Whether it is paid, within a while."""
        response = self.http.get(f"/v1/transactions/{transaction_id}", params={"wait": WAIT_SECONDS})
        return bool(response.json()["status"] == "succeeded")

    def has_step(self, transaction_id: str, step: str) -> bool:
        """Whether the step was taken."""
        timeline = self.http.get(f"/v1/transactions/{transaction_id}").json()["timeline"]
        return any(item.get("step") == step for item in timeline)

    def events(self, transaction_id: str) -> list[tuple[str, str | None]]:
        """Type and outcome of what the bank has sent about it, as stored."""
        query = "SELECT type, outcome FROM directory.bank_events WHERE reference = %s ORDER BY inbox_id"
        with psycopg.connect(self.platform.settings.shard_urls[0], autocommit=True) as connection:
            return connection.execute(query, (f"{transaction_id}:deposit",)).fetchall()

    def handled(self, transaction_id: str) -> None:
        """Wait until an event about it is stored and acted on."""
        until(
            f"an event about {transaction_id} is acted on",
            lambda: any(outcome is not None for _, outcome in self.events(transaction_id)),
            PATIENCE_SECONDS,
        )


@contextmanager
def calling(platform: Platform) -> Iterator[App]:
    """An app of the development client."""
    headers = {"Authorization": f"Bearer {platform.app_key}"}
    with httpx.Client(base_url=platform.api_url, headers=headers, timeout=60, trust_env=False) as http:
        yield App(platform, http)


async def misbehave(app: App, kind: FaultKind, operation: Operation, seconds: float | None = None) -> None:
    """Once, towards this user."""
    async with BankAdmin(app.platform.bank_url) as admin:
        await admin.set_fault(kind, operation=operation, account=app.at_bank, times=1, seconds=seconds)


async def test_what_the_bank_tells_twice_is_stored_once_and_what_it_never_tells_is_asked_for(
    platform: Platform,
) -> None:
    with calling(platform) as app:
        await app.link()
        for kind in (FaultKind.WEBHOOK_TWICE, FaultKind.WEBHOOK_LATE):
            await misbehave(app, kind, Operation.WEBHOOK)
            told = app.deposit()
            assert app.succeeded(told)
            app.handled(told)
            assert [kind for kind, _ in app.events(told)] == ["payment.settled"]
        await misbehave(app, FaultKind.WEBHOOK_LOST, Operation.WEBHOOK)
        await misbehave(app, FaultKind.SETTLE_LATER, Operation.PULL, seconds=1)
        lost = app.deposit()
        assert app.succeeded(lost)
        assert app.events(lost) == []


async def test_a_return_that_the_bank_tells_of_is_booked(platform: Platform) -> None:
    with calling(platform) as app:
        await app.link()
        transaction_id = app.deposit()
        assert app.succeeded(transaction_id)
        async with BankAdmin(platform.bank_url) as admin:
            await admin.give_back(f"{transaction_id}:deposit", "R10")

        def told() -> bool:
            return ("payment.returned", "statement_read") in app.events(transaction_id)

        def returned() -> bool:
            return bool(app.http.get(f"/v1/transactions/{transaction_id}").json()["status"] == "returned")

        def stopped() -> bool:
            account = app.http.get(f"/v1/bank-accounts/{app.bank_account_id}").json()
            return bool(account["status"] == "debits_stopped")

        for what, happened in (("told", told), ("returned", returned), ("stopped", stopped)):
            until(f"the return is {what}", happened, PATIENCE_SECONDS)
    assert platform.run("verify").returncode == 0


async def test_an_event_that_came_while_the_worker_was_dead_is_acted_on(platform: Platform) -> None:
    with calling(platform) as app:
        await app.link()
        await misbehave(app, FaultKind.SETTLE_LATER, Operation.PULL, seconds=2)
        transaction_id = app.deposit()
        until("the bank has accepted it", lambda: app.has_step(transaction_id, "credit_deposit"), PATIENCE_SECONDS)
        platform.kill("worker")
        until("the event is stored", lambda: app.events(transaction_id) != [], PATIENCE_SECONDS)
        platform.wait_restarted("worker", seconds=90)
        app.handled(transaction_id)
        assert app.succeeded(transaction_id)
        assert app.http.get(f"/v1/wallets/{app.wallet_id}").json()["balance"]["posted"] == 500

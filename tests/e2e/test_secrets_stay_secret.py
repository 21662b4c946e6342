"""A run of the whole platform with linked accounts: no secret of theirs is in any log, history, or row in clear."""

from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from temporalio.client import WorkflowHistory

from bank_adapters.simulator.client import BankAdmin
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.ids import BankAccountId, TransactionId
from infra.temporal import connect
from ledger.directory import Directory
from ledger.opening import open_ledger
from tests.replay.corpus import secrets_in
from tests.stack.platform import Platform

pytestmark = pytest.mark.slow

WAIT_SECONDS = 30


class Run:
    """What an app does, and every secret that it has met."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.secrets = platform, set[str]()
        headers = {"Authorization": f"Bearer {platform.app_key}"}
        self.api = httpx.AsyncClient(base_url=platform.api_url, headers=headers, timeout=60, trust_env=False)
        self.admin = BankAdmin(platform.bank_url)

    async def post(self, path: str, body: dict[str, object]) -> dict[str, str]:
        """POST under a new key; the answer."""
        response = await self.api.post(path, json=body, headers={"Idempotency-Key": uuid4().hex})
        assert response.is_success, response.text
        found: dict[str, str] = response.json()
        return found

    async def linked(self) -> dict[str, str]:
        """A user who has linked the same account by tokens and by its number."""
        user = await self.post("/v1/users", {"name": "Ada", "email": "ada@example.com"})
        link = await self.post("/v1/bank-links", {"user_id": user["user_id"]})
        approval = await self.admin.approve(link["link_token"], opening_balance=100_000)
        body: dict[str, object] = {"user_id": user["user_id"], "public_token": approval.public_token}
        account = await self.post("/v1/bank-accounts", body)
        at_bank = await self.admin.account(approval.account_id)
        by_number = {
            "user_id": user["user_id"],
            "routing_number": at_bank.routing_number,
            "account_number": at_bank.account_number,
            "holder_name": "Ada Lovelace",
        }
        second = await self.post("/v1/micro-deposits", dict(by_number))
        self.secrets |= {link["link_token"], approval.public_token, at_bank.account_number}
        directory = Directory.from_settings(self.platform.settings)
        try:
            for bank_account_id in (account["bank_account_id"], second["bank_account_id"]):
                kept = await directory.bank_account(BankAccountId.parse(bank_account_id))
                assert kept is not None
                self.secrets.add(kept.account_token)
        finally:
            await directory.aclose()
        return {**user, **account}

    async def paid(self, kind: str, user: dict[str, str]) -> TransactionId:
        """A payment at its end."""
        body: dict[str, object] = {
            "wallet_id": user["wallet_id"],
            "bank_account_id": user["bank_account_id"],
            "amount": 500,
            "currency": "USD",
        }
        made = await self.post(f"/v1/{kind}", body)
        await self.api.get(f"/v1/transactions/{made['transaction_id']}", params={"wait": WAIT_SECONDS})
        return TransactionId.parse(made["transaction_id"])

    async def history(self, transaction_id: TransactionId) -> WorkflowHistory:
        """The payment's history, as Temporal keeps it."""
        ledger = open_ledger(self.platform.settings)
        try:
            transaction = await ledger.transaction(transaction_id)
        finally:
            await ledger.aclose()
        assert transaction is not None
        client = await connect(self.platform.settings)
        return await client.get_workflow_handle(transaction.workflow_id).fetch_history()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.api.aclose()
        await self.admin.aclose()


def told(secrets: set[str], logs: list[Path]) -> list[str]:
    """The logs that tell one of them."""
    return [log.name for log in logs if any(secret in log.read_text(errors="replace") for secret in secrets)]


async def test_no_secret_of_a_bank_account_is_anywhere_in_clear(platform: Platform) -> None:
    run = Run(platform)
    try:
        user = await run.linked()
        await run.admin.set_fault(FaultKind.ERROR_AFTER, operation=Operation.PULL, times=1)
        deposit = await run.paid("deposits", user)
        await run.admin.set_fault(FaultKind.REFUSE, operation=Operation.PUSH, times=1, code="R03")
        withdrawal = await run.paid("withdrawals", user)
        assert len(run.secrets) == 5
        for transaction_id in (deposit, withdrawal):
            history = await run.history(transaction_id)
            assert secrets_in(history, {user["bank_account_id"]})  # It is read as it is meant to be.
            assert secrets_in(history, run.secrets) == []
    finally:
        await run.aclose()
    logs = sorted((platform.home / "logs").glob("*.log"))
    assert {"api.log", "worker.log", "bank.log"} <= {log.name for log in logs}
    assert told({user["bank_account_id"], "/v1/bank-accounts"}, logs)  # The run is in them.
    assert told(run.secrets, logs) == []
    with psycopg.connect(platform.settings.shard_urls[0], autocommit=True) as connection:
        for table in ("bank_links", "bank_accounts", "micro_deposits", "request_keys"):
            rows = [str(row[0]) for row in connection.execute(f"SELECT t::text FROM directory.{table} t".encode())]
            assert not [secret for secret in run.secrets if any(secret in row for row in rows)], table
    verified = platform.run("verify")
    assert verified.returncode == 0, verified.stdout


def test_operators_rotate_the_keys_while_the_platform_runs(platform: Platform) -> None:
    assert "is the newest key" in platform.run("secrets", "new-key").stdout
    first = platform.run("secrets", "reencrypt")
    assert first.returncode == 0, first.stdout
    assert platform.run("secrets", "reencrypt").stdout.startswith("0 values")

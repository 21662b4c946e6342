"""Where it is measured: a platform of the benchmark's own, started by the real command, and the bare peer beside it."""

import asyncio
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import psycopg
from rich.console import Console

from bank_adapters.simulator.client import BankAdmin
from benchmarks.load import Account
from commands.demo.client import AppClient, PaymentView
from commands.verify import verify_all
from infra.local.child import Child, Command
from infra.local.probes import free_ports, http_status
from tests.stack.platform import REPOSITORY, Platform, until

AT_ONCE: Final = 6
OPENING_BALANCE: Final = 10**9
FIRST_DEPOSIT: Final = 10**8
START_SECONDS: Final = 120.0
GRACE_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 30.0

# What consumers have not confirmed yet is work left over from the trial before.
_LEFT_OVER: Final = """
    SELECT count(*) FROM ledger.outbox o JOIN ledger.consumer_positions c USING (topic, lane)
    WHERE c.shard = 0 AND (o.xid, o.id) > (c.xid, c.id)
"""


@dataclass(frozen=True)
class Site:
    """A running platform and peer, and wallets with money on them."""

    platform: Platform
    bare_url: str
    accounts: list[Account]
    up_seconds: float
    load_before: float

    def quiet(self) -> None:
        """Wait until the events of what was done so far are delivered, so that no trial pays for the one before."""
        deadline = time.monotonic() + QUIET_SECONDS
        with psycopg.connect(self.platform.settings.shard_urls[0], autocommit=True) as connection:
            while time.monotonic() < deadline:
                row = connection.execute(_LEFT_OVER).fetchone()
                if row == (0,):
                    return
                time.sleep(0.1)

    def verify(self) -> tuple[bool, str]:
        """Whether `sagapay verify` finds every invariant and the bank's books to hold, and what it says."""
        said = Console(file=io.StringIO(), record=True, width=120)
        clean = asyncio.run(verify_all(self.platform.settings, said))
        return clean, said.export_text()


def up_command() -> list[str]:
    """`make up`, or what it runs where the packages were not installed by make."""
    made = subprocess.run(["make", "--question", "install"], cwd=REPOSITORY, capture_output=True, check=False)
    return ["make", "--silent", "up"] if made.returncode == 0 else [sys.executable, "-m", "cli", "up", "--detach"]


def time_up(platform: Platform) -> float:
    """Seconds from the command to its return, when everything is ready. Raises CalledProcessError."""
    begin = time.monotonic()
    subprocess.run(up_command(), cwd=REPOSITORY, env=platform.environment, check=True, capture_output=True)
    return time.monotonic() - begin


@contextmanager
def running_site(people: int) -> Iterator[Site]:
    """Everything, gone at the end. Its data are beside the checkout's own, on the same disk."""
    home = Path(tempfile.mkdtemp(prefix=".sagapay-bench-", dir=REPOSITORY))
    platform, load_before = Platform(home, SAGAPAY_LOCAL_SHARDS="1"), os.getloadavg()[0]
    try:
        up_seconds = time_up(platform)
        platform.up()  # It runs already; this ties it to our life.
        with _bare(platform) as bare_url:
            yield Site(platform, bare_url, asyncio.run(_settle(platform, people)), up_seconds, load_before)
    finally:
        if platform.runs():
            platform.kill("supervisor", signal.SIGTERM)
            until("the platform has stopped", lambda: not platform.runs())
        platform.untie()
        shutil.rmtree(home)


@contextmanager
def _bare(platform: Platform) -> Iterator[str]:
    """The peer's two processes, as many as take part in a transfer of ours."""
    port = free_ports(1)[0]
    module = [sys.executable, "-m", "benchmarks.bare"]
    logs, environment = platform.home / "logs", platform.state().environment
    children = [
        Child(Command("bare", [*module, str(port)], logs / "bare.log", environment)),
        Child(Command("bare-worker", [*module, "worker"], logs / "bare-worker.log", environment)),
    ]
    try:
        until("the bare peer is ready", lambda: http_status(port, "/readyz") == 200, START_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        for child in children:
            child.stop(GRACE_SECONDS)


async def _settle(platform: Platform, people: int) -> list[Account]:
    """Open wallets, link banks and bring money, all over the REST API."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with AppClient(platform.api_url, platform.app_key) as app, BankAdmin(platform.bank_url) as bank:

        async def join(number: int) -> Account:
            async with turn:
                return await _join(app, bank, number)

        return list(await asyncio.gather(*(join(number) for number in range(people))))


async def _join(app: AppClient, bank: BankAdmin, number: int) -> Account:
    user = orjson.loads(await app.post("/v1/users", {"name": f"P{number}", "email": f"p{number}@example.com"}))
    link = orjson.loads(await app.post("/v1/bank-links", {"user_id": user["user_id"]}))
    approval = await bank.approve(link["link_token"], opening_balance=OPENING_BALANCE)
    linked: dict[str, str | int] = {"user_id": str(user["user_id"]), "public_token": approval.public_token}
    bank_account = orjson.loads(await app.post("/v1/bank-accounts", linked))
    account = Account(wallet_id=user["wallet_id"], bank_account_id=bank_account["bank_account_id"])
    deposit = {**account.model_dump(), "amount": FIRST_DEPOSIT, "currency": "USD"}
    payment = PaymentView.model_validate_json(await app.post("/v1/deposits", deposit))
    await app.payment(payment.transaction_id, wait_seconds=30)
    return account

"""Where it is measured: a platform of the benchmark's own, started by the real command, and peers beside it."""

import asyncio
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
import psycopg
from rich.console import Console

from bank_adapters.simulator.client import BankAdmin
from benchmarks.load import Account, Kind
from benchmarks.processes import cpu_seconds
from commands.demo.client import AppClient, PaymentView
from commands.verify import verify_all
from infra.local.child import Child, Command
from infra.local.postgres import POSTGRES_DATA, processes_in
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
class Beside:
    """Processes beside the platform that answer what is asked of a kind, and of those that are `also` theirs.

    `programs` are arguments for Python, by name, with PORT in place of the port that SAGAPAY_API_PORT names, too, and
    on which one of them listens. `variables` are further SAGAPAY_… variables.
    """

    kind: Kind
    programs: Mapping[str, Sequence[str]]
    variables: Mapping[str, str] = field(default_factory=dict)
    also: tuple[Kind, ...] = ()


PORT: Final = "PORT"
BARE: Final = Beside(
    Kind.BARE,
    {"bare": ("-m", "benchmarks.bare", PORT), "bare-worker": ("-m", "benchmarks.bare", "worker")},
    also=(Kind.BARE_SAGA,),
)
"""The bare workflows: as many processes as take part in a payment of ours."""


@dataclass(frozen=True)
class Site:
    """A running platform and what is beside it, and wallets with money on them."""

    platform: Platform
    urls: Mapping[Kind, str]
    """Of the kinds that are not asked of the platform's own API."""
    pids: Mapping[str, int]
    """Of what is beside the platform."""
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

    def cpu(self) -> dict[str, float]:
        """Seconds of the processor that each process has taken so far; PostgreSQL's together."""
        ours = {name: process.pid for name, process in self.platform.state().processes.items() if process.pid}
        taken = {name: cpu_seconds([pid]) for name, pid in {**ours, **self.pids}.items()}
        return taken | {"postgres": cpu_seconds(processes_in(self.platform.home / POSTGRES_DATA))}

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
def running_site(people: int, besides: Sequence[Beside] = (BARE,)) -> Iterator[Site]:
    """Everything, gone at the end. Its data are beside the checkout's own, on the same disk."""
    home = Path(tempfile.mkdtemp(prefix=".sagapay-bench-", dir=REPOSITORY))
    platform, load_before = Platform(home, SAGAPAY_LOCAL_SHARDS="1"), os.getloadavg()[0]
    try:
        up_seconds = time_up(platform)
        platform.up()  # It runs already; this ties it to our life.
        with ExitStack() as stack:
            urls, pids = dict[Kind, str](), dict[str, int]()
            for beside in besides:
                url, children = stack.enter_context(_running(platform, beside))
                urls |= dict.fromkeys((beside.kind, *beside.also), url)
                pids |= {child.command.name: child.pid for child in children}
            accounts = asyncio.run(_settle(platform, people))
            yield Site(platform, urls, pids, accounts, up_seconds, load_before)
    finally:
        if platform.runs():
            platform.kill("supervisor", signal.SIGTERM)
            until("the platform has stopped", lambda: not platform.runs())
        platform.untie()
        shutil.rmtree(home)


@contextmanager
def _running(platform: Platform, beside: Beside) -> Iterator[tuple[str, list[Child]]]:
    """Its address once it is ready, and its processes."""
    port = free_ports(1)[0]
    environment = {**platform.state().environment, "SAGAPAY_API_PORT": str(port), **beside.variables}
    children = []
    try:
        for name, words in beside.programs.items():
            argv = [sys.executable, *(str(port) if word == PORT else word for word in words)]
            children.append(Child(Command(name, argv, platform.home / f"logs/{name}.log", environment)))
        until(f"{beside.kind} is ready", lambda: http_status(port, "/readyz") == 200, START_SECONDS)
        yield f"http://127.0.0.1:{port}", children
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

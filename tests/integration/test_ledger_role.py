"""The ledger's service as a process of its own: the same answers, and one effect each whatever becomes of it."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from api.app import create_app
from api.backends import Backends
from domain.contracts.payments import StepResult
from domain.contracts.wallets import ChangeKind
from domain.errors import IdempotencyKeyReused, InternalError, LedgerBusy, LedgerRejected, LedgerUnavailable, NotFound
from domain.ids import WalletId
from domain.transactions import Step, StepDecision, TransactionKind
from infra.local.probes import free_ports
from infra.role import Life
from infra.settings import Settings
from ledger.directory import Scope
from ledger.invariants import verify
from ledger.local import LocalLedger
from ledger.opening import open_ledger
from ledger.server import serve
from ledger.service import LedgerService
from ledger.wire import SERVICE
from tests.money.books import pay_in_every_way
from tests.money.records import Records
from tests.money.requests import Client, again, change_wallet
from tests.money.role import LedgerProcess, running_ledger
from tests.money.scratch import Database
from tests.property.anything import anatomy
from tests.rest.stage import Caller
from tests.stack.platform import until
from tests.stack.servers import Servers

PAYMENTS = 120
KILLED_AFTER = (20, 50, 80)


@pytest.fixture(scope="module")
def base(database: Database, bare_servers: Servers) -> Settings:
    """Settings of this module's processes."""
    return database.settings(bare_servers.settings)


@pytest.fixture(scope="module")
def role(base: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerProcess]:
    """A process that every test leaves running."""
    with running_ledger(tmp_path_factory.mktemp("ledger"), base) as process:
        yield process


@asynccontextmanager
async def _reaching(role: LedgerProcess, base: Settings, seconds: float = 60) -> AsyncIterator[LedgerService]:
    settings = base.model_copy(update={"ledger_address": role.address, "ledger_timeout_seconds": seconds})
    service = open_ledger(settings)
    yield service
    await service.aclose()


@pytest.fixture
async def remote(role: LedgerProcess, base: Settings) -> AsyncIterator[LedgerService]:
    """The service as another process has it."""
    async with _reaching(role, base) as service:
        yield service


@pytest.fixture
def caller(remote: LedgerService, client: Client) -> Client:
    """The same app as `client`, through the process."""
    return Client(remote, client_id=client.client_id, bank=client.bank)


@contextmanager
def _locked(database: Database, records: Records, wallet: WalletId) -> Iterator[Callable[[], Awaitable[None]]]:
    """The wallet's account is locked by somebody during the block; what it gives waits until others wait for it."""
    with database.connect("sagapay_app") as blocker, blocker.transaction():
        blocker.execute("SELECT FROM ledger.accounts WHERE account_id = %s FOR UPDATE", [wallet.uuid])

        async def somebody_waits() -> None:
            await asyncio.to_thread(until, "somebody waits", lambda: records.waiting() > 0)

        yield somebody_waits


async def test_it_answers_as_the_service_in_this_process(
    client: Client, caller: Client, ledger: LocalLedger, remote: LedgerService, records: Records
) -> None:
    paid = await pay_in_every_way(caller)
    for result in paid.values():
        transaction_id = result.transaction_id
        here, there = await ledger.transaction(transaction_id), await remote.transaction(transaction_id)
        assert here is not None
        assert anatomy(there) == anatomy(here)
        assert anatomy(await remote.timeline(transaction_id)) == anatomy(await ledger.timeline(transaction_id))
        for wallet_id in filter(None, (here.source_wallet_id, here.destination_wallet_id)):
            assert anatomy(await remote.wallet(wallet_id)) == anatomy(await ledger.wallet(wallet_id))
            statement = await remote.entries(wallet_id, before_version=None, limit=3)
            assert len(statement) == 3
            assert anatomy(statement) == anatomy(await ledger.entries(wallet_id, before_version=None, limit=3))
    open_here = [found async for found in ledger.open_transactions(older_than_seconds=0)]
    open_there = [found async for found in remote.open_transactions(older_than_seconds=0)]
    assert len(open_here) >= 4
    assert anatomy(open_there) == anatomy(open_here)
    wallet = await caller.open_wallet(100)
    request = client.request(TransactionKind.WITHDRAWAL, 30, source=wallet)
    first = await remote.begin(request, Step.HOLD_WITHDRAWAL)
    assert (first.replayed, await ledger.begin(again(request), Step.HOLD_WITHDRAWAL)) == (
        False,
        await remote.begin(again(request), Step.HOLD_WITHDRAWAL),
    )
    assert request.idempotency is not None
    key = request.idempotency.key_digest
    assert await remote.find_key(key, near=wallet) == await ledger.find_key(key, near=wallet) is not None
    frozen = await change_wallet(remote, wallet, ChangeKind.FREEZE)
    assert anatomy(frozen) == anatomy(await ledger.wallet(wallet))
    assert records.steps(first.transaction_id) == [("hold_withdrawal", "posted")]


async def test_errors_arrive_as_themselves(caller: Client, remote: LedgerService, role: LedgerProcess) -> None:
    wallet, other = await caller.open_wallet(100), await caller.open_wallet()
    begun = await caller.begin_withdrawal(wallet, 10)
    with pytest.raises(LedgerRejected):
        await caller.take(begun, Step.SETTLE_WITHDRAWAL)
    await caller.transfer(wallet, other, 1, key="one")
    with pytest.raises(IdempotencyKeyReused):
        await caller.transfer(wallet, other, 2, key="one")
    with pytest.raises(NotFound, match=str(unknown := WalletId.new(0))):
        await change_wallet(remote, unknown, ChangeKind.FREEZE)
    assert await remote.wallet(unknown) is None
    with pytest.raises(InternalError) as told:  # A bug, which the process keeps to itself, and goes on.
        await remote.entries(wallet, before_version=None, limit=-1)
    assert told.value.detail == InternalError().detail
    assert "LIMIT must not be negative" in role.log
    await remote.ping()


async def test_a_late_answer_is_an_outage_and_the_same_keys_tell_what_became_of_it(
    caller: Client, base: Settings, role: LedgerProcess, database: Database, records: Records
) -> None:
    wallet, other = await caller.open_wallet(100), await caller.open_wallet()
    request = caller.request(TransactionKind.TRANSFER, 10, source=wallet, destination=other)
    async with _reaching(role, base, seconds=0.5) as hasty:
        with _locked(database, records, wallet) as somebody_waits:
            with pytest.raises(LedgerUnavailable, match="in time"):
                await hasty.begin(request, Step.SETTLE_TRANSFER)
            await somebody_waits()
    paid = await caller.ledger.begin(again(request), Step.SETTLE_TRANSFER)
    # Nobody waited for it any more, and it was done all the same.
    assert (paid.decision, paid.replayed, paid.transaction_id) == (StepDecision.POSTED, True, request.transaction_id)
    assert (await caller.money(wallet), await caller.money(other)) == ((90, 0), (10, 0))


async def test_a_caller_that_is_cancelled_is_cancelled(
    caller: Client, database: Database, records: Records, remote: LedgerService
) -> None:
    wallet, other = await caller.open_wallet(100), await caller.open_wallet()
    with _locked(database, records, wallet) as somebody_waits:
        paying = asyncio.create_task(caller.transfer(wallet, other, 10, key="cancelled"))
        await somebody_waits()
        paying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await paying
    assert (await caller.transfer(wallet, other, 10, key="cancelled")).decision is StepDecision.POSTED
    assert (await caller.money(wallet), await caller.money(other)) == ((90, 0), (10, 0))


async def test_whoever_waits_when_the_line_is_let_go_gets_an_outage(
    caller: Client, role: LedgerProcess, base: Settings, database: Database, records: Records
) -> None:
    wallet, other = await caller.open_wallet(100), await caller.open_wallet()
    request = caller.request(TransactionKind.TRANSFER, 10, source=wallet, destination=other)
    async with _reaching(role, base) as short:
        with _locked(database, records, wallet) as somebody_waits:
            paying = asyncio.create_task(short.begin(request, Step.SETTLE_TRANSFER))
            await somebody_waits()
            await short.aclose()
            with pytest.raises(LedgerUnavailable):
                await paying


@pytest.mark.slow
async def test_killed_in_the_middle_of_calls_it_loses_and_doubles_nothing(
    client: Client, role: LedgerProcess, base: Settings, records: Records, ledger: LocalLedger
) -> None:
    wallets = [await client.open_wallet(100_000) for _ in range(5)]
    money, outages, chance = dict.fromkeys(wallets, 100_000), [0], random.Random(5)
    answered, room = [0], asyncio.Semaphore(20)

    async def until_known(call: Callable[[], Awaitable[StepResult]]) -> StepResult:
        while True:
            try:
                return await call()
            except LedgerUnavailable:
                outages[0] += 1
                await asyncio.sleep(0.05)

    async def pay(remote: LedgerService, number: int) -> None:
        async with room:
            source, destination = chance.sample(wallets, 2)
            if number % 4:
                request = client.request(TransactionKind.TRANSFER, 10, source=source, destination=destination)
                paid = await until_known(lambda: remote.begin(again(request), Step.SETTLE_TRANSFER))
                money[destination] += 10
            else:
                request = client.request(TransactionKind.WITHDRAWAL, 10, source=source)
                paid = await until_known(lambda: remote.begin(again(request), Step.HOLD_WITHDRAWAL))
                caller = Client(remote)
                for step in (Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL):
                    await until_known(lambda step=step: caller.take(paid, step))  # type: ignore[misc]
            assert paid.decision is StepDecision.POSTED
            money[source] -= 10
            answered[0] += 1
            if answered[0] in KILLED_AFTER:
                role.kill()
                role.start()

    async with _reaching(role, base) as remote:
        await asyncio.gather(*(pay(remote, number) for number in range(PAYMENTS)))
    assert outages[0] >= len(KILLED_AFTER)
    assert {wallet: await client.money(wallet) for wallet in wallets} == {w: (left, 0) for w, left in money.items()}
    made = "SELECT count(*) FROM ledger.transactions WHERE client_id = %s AND kind = %s"
    assert records.value(made, client.client_id.uuid, "transfer") == PAYMENTS * 3 // 4
    assert records.value(made, client.client_id.uuid, "withdrawal") == PAYMENTS // 4
    findings = await verify(ledger.shards.all[0].engine)
    assert [(finding.name, finding.violations) for finding in findings if not finding.ok] == []
    role.wait_ready()


async def test_asked_to_stop_it_answers_what_it_has_begun_and_nothing_else(
    client: Client, base: Settings, tmp_path: Path, database: Database, records: Records
) -> None:
    wallet, other = await client.open_wallet(100), await client.open_wallet()
    request = client.request(TransactionKind.TRANSFER, 10, source=wallet, destination=other)
    with running_ledger(tmp_path, base) as own:
        async with _reaching(own, base) as remote, _reaching(own, base) as newcomer:
            with _locked(database, records, wallet) as somebody_waits:
                paying = asyncio.create_task(remote.begin(request, Step.SETTLE_TRANSFER))
                await somebody_waits()
                own.ask_to_stop()
                with suppress(TimeoutError):  # On a busy machine a refusal takes longer than what has begun may take.
                    await _refused(newcomer, seconds=1)
                assert not paying.done()
            assert (await paying).decision is StepDecision.POSTED
            await _refused(newcomer)
        assert await own.ended() == 0
        assert not own.is_ready
    assert (await client.money(wallet), await client.money(other)) == ((90, 0), (10, 0))


async def _refused(service: LedgerService, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while True:
            try:
                await service.ping()
            except LedgerUnavailable:
                return
            await asyncio.sleep(0.02)


async def test_too_many_calls_are_refused_before_they_begin_and_the_api_says_when_to_come_back(
    client: Client, base: Settings, tmp_path: Path, database: Database, records: Records
) -> None:
    wallet, other = await client.open_wallet(100), await client.open_wallet()
    with running_ledger(tmp_path, base, SAGAPAY_LEDGER_MAX_CONCURRENT="1") as own:
        app = create_app(base.model_copy(update={"ledger_address": own.address, "api_hosts_worker": False}))
        backends: Backends = app.state.backends
        key = await backends.directory.create_key(await backends.directory.create_client("app"), Scope.APP, "app")
        async with _reaching(own, base) as remote, Caller(app, key).http as http:
            person = {"name": "Ada", "email": "ada@example.com", "idempotency_key": "ada"}
            hers = f"/v1/wallets/{(await http.post('/v1/users', json=person)).json()['wallet_id']}"
            caller = Client(remote, client_id=client.client_id)
            with _locked(database, records, wallet) as somebody_waits:
                paying = asyncio.create_task(caller.transfer(wallet, other, 10))
                await somebody_waits()
                with pytest.raises(LedgerBusy):
                    await caller.transfer(wallet, other, 20, key="refused")
                refused = await http.get(hers)
                assert (refused.status_code, refused.json()["code"]) == (503, "ledger_busy")
                assert refused.headers["Retry-After"] == "1"
            assert (await paying).decision is StepDecision.POSTED
            assert not (await caller.transfer(wallet, other, 20, key="refused")).replayed
            assert (await http.get(hers)).status_code == 200
        await backends.aclose()
    assert (await client.money(wallet), await client.money(other)) == ((70, 0), (30, 0))


async def test_its_health_is_its_readiness(role: LedgerProcess, base: Settings, tmp_path: Path) -> None:
    assert await _health(role.address) == health_pb2.HealthCheckResponse.SERVING
    (port,) = free_ports(1)
    nowhere = ("postgresql://sagapay_app@127.0.0.1:1/sagapay",)
    settings = base.model_copy(
        update={"shard_urls": nowhere, "ledger_port": port, "ledger_address": f"127.0.0.1:{port}"}
    )
    life = Life(tmp_path / "ledger")
    serving = asyncio.create_task(serve(settings, life))
    assert await _health(f"127.0.0.1:{port}") == health_pb2.HealthCheckResponse.NOT_SERVING
    remote = open_ledger(settings)
    with pytest.raises(LedgerUnavailable, match="database"):
        await remote.ping()
    await remote.aclose()
    assert not life.is_ready
    life.stop()
    await serving


async def test_two_do_not_share_a_port(role: LedgerProcess, base: Settings) -> None:
    taken = base.model_copy(update={"ledger_port": int(role.address.partition(":")[2])})
    with pytest.raises(RuntimeError, match=role.address):
        await serve(taken, Life())


async def _health(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        question = health_pb2.HealthCheckRequest(service=SERVICE)
        answer = await health_pb2_grpc.HealthStub(channel).Check(question, timeout=20, wait_for_ready=True)
        return int(answer.status)

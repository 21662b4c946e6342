"""One payment for each cell, all at once: each is brought to its gate, the worker is killed, another one ends them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from bank_adapters.port import BankPayment, PaymentState
from bank_adapters.simulator.faults import TELLING, FaultKind, Operation
from domain.contracts.payments import PaymentRequest, RetryPlan
from domain.rails import Rail
from domain.transactions import TransactionKind, TransactionStatus
from infra.local.probes import free_ports
from infra.secrets import keys_file
from infra.settings import Settings
from infra.signatures import new_secret
from tests.matrix.cells import Call, Cell, Crash
from tests.money.scratch import Databases
from tests.rest.roles import running_roles
from tests.stack.bank import BankProcess, running_bank
from tests.stack.servers import Servers
from tests.workflow.operators import cancel
from tests.workflow.scene import OPENING, Payment, Person, Scene, open_scene, until
from tests.workflow.temporal_server import running_temporal
from tests.workflow.worker_process import running_worker

AMOUNT: Final = 300
BEFORE: Final = 1_000
"""In the wallet of whoever withdraws."""
HOLDING_SECONDS: Final = 600.0
"""How long the bank would be at work on a request whose sender dies; it is let go once the next one has come."""
SETTLES_LATER_SECONDS: Final = 1.0
DAYS_OF_ACH: Final = timedelta(days=5)
PATIENCE_SECONDS: Final = 150.0
_AT_ONCE: Final = 16
_PLACES: Final = "400"
_PLAN: Final = RetryPlan(quick_retry_seconds=600, slow_retry_seconds=600, settlement_poll_seconds=0.2)
_RARELY: Final = replace(_PLAN, settlement_poll_seconds=3)
"""For those whom an event is to wake."""
_PARKS: Final = replace(_PLAN, quick_retry_seconds=2, slow_retry_seconds=3)
"""For those whom a person is to cancel: that can be told only to who is parked."""

ACCEPTED: Final = {
    TransactionKind.DEPOSIT: "step.posted credit_deposit",
    TransactionKind.WITHDRAWAL: "step.posted capture_withdrawal",
}

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a cell's payment, in minor units.

    `meanwhile` is posted and held in the wallet while no worker was alive (None where none died), `moved_here` what
    the wallet gained (a deposit) or lost, `moved_there` the same of the account at the bank before it corrected itself
    and `moved_there_at_last` after.
    """

    status: TransactionStatus
    failure: str | None
    struck: int
    meanwhile: tuple[int, int] | None
    moved_here: int
    held: int
    moved_there: int
    moved_there_at_last: int


@dataclass
class _Walker:
    cell: Cell
    person: Person
    request: PaymentRequest
    fault_id: int | None
    holding_id: int | None
    silent_id: int | None = None
    payment: Payment | None = None
    meanwhile: tuple[int, int] | None = None

    @property
    def started(self) -> Payment:
        """The payment, once it is started."""
        assert self.payment is not None
        return self.payment

    @property
    def reference(self) -> str:
        """Ours, at the bank."""
        return f"{self.started.transaction_id}:{self.cell.kind}"


@contextmanager
def matrix_servers(
    home: Path, servers: Servers, databases: Databases | None = None, clock_file: Path | None = None
) -> Iterator[tuple[Settings, BankProcess]]:
    """A ledger, a Temporal server, a bank that sends events, and an API that takes them.

    Business time is the machine's, or what `clock_file` says.
    """
    (bank_port, api_port) = free_ports(2)
    secrets = home / "webhook_secrets"
    secrets.write_text(new_secret())
    with (
        (databases or Databases(servers.settings)).copy() as database,
        running_temporal(home / "temporal", database.settings(servers.settings)) as settings,
        running_bank(
            home / "bank",
            bank_port,
            SAGAPAY_BANK_WEBHOOK_URL=f"http://127.0.0.1:{api_port}/v1/bank-events/simulator",
            SAGAPAY_BANK_WEBHOOK_SECRETS_FILE=str(secrets),
        ) as bank,
    ):
        own = settings.model_copy(
            update={
                "bank_url": bank.url,
                "bank_request_timeout_seconds": 1.5,
                "bank_webhook_secrets_file": secrets,
                "database_pool_size": 20,
                "business_clock_file": clock_file,
            }
        )
        variables = {
            "SAGAPAY_SHARD_URLS": ",".join(own.shard_urls),
            "SAGAPAY_MIGRATION_URLS": ",".join(own.migration_urls),
            "SAGAPAY_TEMPORAL_ADDRESS": own.temporal_address,
            "SAGAPAY_BANK_URL": bank.url,
            "SAGAPAY_BANK_WEBHOOK_SECRETS_FILE": str(secrets),
            "SAGAPAY_ENCRYPTION_KEYS_FILE": str(keys_file(own).resolve()),
        }
        if clock_file is not None:
            variables["SAGAPAY_BUSINESS_CLOCK_FILE"] = str(clock_file)
        with running_roles(servers, home / "api", "api", port=api_port, **variables):
            yield own, bank


@asynccontextmanager
async def matrix_scene(home: Path, servers: Servers) -> AsyncIterator[Scene]:
    """A scene without workers on `matrix_servers`. At its end not a cent may be off, here or at the bank."""
    with matrix_servers(home, servers) as (settings, bank):
        async with open_scene(settings, bank) as scene:
            yield scene
            wrong = [f"{finding.name}: {finding.violations}" for finding in await scene.verify() if not finding.ok]
            assert not wrong, wrong
            assert (await scene.admin.books()).balanced


async def walk(scene: Scene, cells: Sequence[Cell], home: Path, tell: Callable[[str], None]) -> Mapping[Cell, Fate]:
    """The fate of every cell. `tell` hears how far it is."""
    (home / "arrived").mkdir(parents=True)
    gated = ("-m", "tests.matrix.gated_worker", str(home))
    async with running_worker(home / "gated", scene.settings, *gated, SAGAPAY_WORKER_MAX_CONCURRENT=_PLACES) as worker:
        tell(f"{len(cells)} people open wallets and link bank accounts")
        walkers = await _each(cells, lambda cell: _prepared(scene, cell))
        gates = {walker.request.workflow_id: (walker.cell.call, walker.cell.crash) for walker in walkers}
        (home / "gates.json").write_text(json.dumps(gates))
        await _to_the_gates(scene, walkers, home, tell)
        worker.kill()
    tell("the worker is dead")
    await _each(walkers, lambda walker: _look(scene, walker))
    async with running_worker(home / "next", scene.settings):
        tell("another one is alive")
        await _let_go(scene, walkers)
        tell("what the dead one had sent is done")
        await _through_ach(scene, walkers)
        tell("five days are over at the bank")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _each(walkers, lambda walker: walker.started.handle.result())
        struck = await _struck(scene, walkers)
        fates = await _each(walkers, lambda walker: _fate(scene, walker, struck))
    return dict(zip(cells, fates, strict=True))


async def _each(items: Iterable[T], do: Callable[[T], Awaitable[R]]) -> list[R]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def placed(item: T) -> R:
        async with places:
            return await do(item)

    return await asyncio.gather(*map(placed, items))


async def _prepared(scene: Scene, cell: Cell) -> _Walker:
    withdraws = cell.kind is TransactionKind.WITHDRAWAL
    person = await scene.person(balance=BEFORE if withdraws else 0)
    source, destination = (person, None) if withdraws else (None, person)
    plan = _PARKS if cell.call is Call.CANCEL else _RARELY if cell.fault in TELLING else _PLAN
    request = scene.asked(cell.kind, AMOUNT, source=source, destination=destination, plan=plan)
    holding_id = fault_id = silent_id = None
    if cell.crash is Crash.DURING:
        holding_id = await scene.misbehave(person, FaultKind.SLOW, cell.called, times=1, seconds=HOLDING_SECONDS)
    if cell.call is Call.CANCEL:
        await scene.misbehave(person, FaultKind.TIMEOUT_AFTER, cell.sending, times=1)
        silent_id = await scene.misbehave(person, FaultKind.TIMEOUT_BEFORE, Operation.LOOK_UP)
    if cell.call is Call.LOOK_UP and cell.rail is Rail.INSTANT:
        later = SETTLES_LATER_SECONDS
        await scene.misbehave(person, FaultKind.SETTLE_LATER, cell.sending, times=1, seconds=later)
    if cell.fault is not None:
        fault_id = await scene.misbehave(person, cell.fault, cell.operation, times=1)
    return _Walker(cell, person, replace(request, rails=(cell.rail,)), fault_id, holding_id, silent_id)


async def _to_the_gates(scene: Scene, walkers: Sequence[_Walker], home: Path, tell: Callable[[str], None]) -> None:
    """In three parts, so that none keeps the others waiting: the bank is to be at work for the last ones."""
    cancelled = [walker for walker in walkers if walker.cell.call is Call.CANCEL]
    held = [walker for walker in walkers if walker.cell.call is not Call.CANCEL and walker.holding_id is not None]
    # Who looks ever more rarely had better begin late.
    others = sorted(
        (walker for walker in walkers if walker not in cancelled and walker not in held),
        key=lambda walker: walker.cell.fault in TELLING,
    )
    parts = {
        "make a payment that parks, and cancel it": cancelled,
        "make a payment": others,
        "make a payment that the bank is long at work on": held,
    }
    stopped = 0
    for what, part in parts.items():
        tell(f"{len(part)} {what}")
        await _each(part, lambda walker: _start(scene, walker))
        stopped += sum(walker.cell.crash is not Crash.NEVER for walker in part)
        await _arrived(home, stopped)
        await _each(
            [walker for walker in part if walker.cell.crash is Crash.NEVER], lambda walker: _over(scene, walker)
        )
    holding = {walker.holding_id for walker in walkers if walker.holding_id is not None}

    async def at_the_bank() -> bool:
        return holding <= {fault.fault_id for fault in await scene.admin.faults() if fault.used == 1}

    await until("the bank is at work on all of them", at_the_bank, PATIENCE_SECONDS)


async def _arrived(home: Path, count: int) -> None:
    async def there() -> bool:
        return len(list((home / "arrived").iterdir())) == count

    await until(f"{count} payments are at their gates", there, PATIENCE_SECONDS)


async def _let_go(scene: Scene, walkers: Sequence[_Walker]) -> None:
    """Let the bank end what a dead worker has sent, not before the next one's request has met its own fault."""
    held = [walker for walker in walkers if walker.holding_id is not None]
    awaited = {walker.fault_id for walker in held if walker.fault_id is not None and walker.cell.fault not in TELLING}

    async def struck() -> bool:
        return awaited <= {fault.fault_id for fault in await scene.admin.faults() if fault.used}

    await until("the next worker has called the bank for all of them", struck, PATIENCE_SECONDS)
    await _each([walker.holding_id for walker in held if walker.holding_id is not None], scene.admin.remove_fault)


async def _start(scene: Scene, walker: _Walker) -> None:
    walker.payment = await scene.start(walker.request)
    if walker.silent_id is not None:
        await until(f"{walker.cell.name} is parked", lambda: _is_parked(scene, walker), PATIENCE_SECONDS)
        # In this order: a bank that speaks again before would have its payment booked.
        await cancel(walker.payment)
        await scene.admin.remove_fault(walker.silent_id)


async def _is_parked(scene: Scene, walker: _Walker) -> bool:
    """The bank has it, and does not say so."""
    attention = (await scene.transaction(walker.started)).attention
    return attention is not None and attention.reason == "bank_unknown"


async def _over(scene: Scene, walker: _Walker) -> None:
    """Wait until only the bank's batch is missing, or nothing."""

    async def over() -> bool:
        found = await scene.transaction(walker.started)
        if walker.cell.rail is Rail.INSTANT or found.status.final:
            return found.status.final
        return ACCEPTED[walker.cell.kind] in await scene.timeline(walker.started)

    await until(f"{walker.cell.name} is accepted or over", over, PATIENCE_SECONDS)


async def _look(scene: Scene, walker: _Walker) -> None:
    if walker.cell.crash is not Crash.NEVER:
        walker.meanwhile = await scene.money(walker.person)


async def _through_ach(scene: Scene, walkers: Sequence[_Walker]) -> None:
    await _each([walker for walker in walkers if walker.cell.rail is Rail.ACH], lambda walker: _over(scene, walker))
    await scene.admin.advance_clock(DAYS_OF_ACH)


async def _struck(scene: Scene, walkers: Sequence[_Walker]) -> Mapping[int, int]:
    """How often each fault has struck, once all events are told of: payments do not wait for them."""
    telling = [walker.fault_id for walker in walkers if walker.cell.fault in TELLING]

    async def told() -> bool:
        used = {fault.fault_id: fault.used for fault in await scene.admin.faults()}
        return all(fault_id is not None and used[fault_id] for fault_id in telling)

    await until("the bank has told of all payments, or not", told)
    return {fault.fault_id: fault.used for fault in await scene.admin.faults()}


async def _fate(scene: Scene, walker: _Walker, struck: Mapping[int, int]) -> Fate:
    result = await walker.started.handle.result()
    await _settled(scene, walker)
    deposits = walker.cell.kind is TransactionKind.DEPOSIT
    posted, held = await scene.money(walker.person)
    there = await scene.at_bank(walker.person)
    if walker.cell.fault is FaultKind.DUPLICATE:
        assert await scene.admin.correct(walker.reference) == 1
    at_last = await scene.at_bank(walker.person)
    start_there = OPENING if deposits else OPENING - BEFORE
    return Fate(
        status=result.status,
        failure=result.failure and result.failure.code,
        struck=struck[walker.fault_id] if walker.fault_id is not None else 0,
        meanwhile=walker.meanwhile,
        moved_here=posted if deposits else BEFORE - posted,
        held=held,
        moved_there=start_there - there if deposits else there - start_there,
        moved_there_at_last=start_there - at_last if deposits else at_last - start_there,
    )


async def _settled(scene: Scene, walker: _Walker) -> None:
    """What the bank had told too early it has done in the end."""

    async def done() -> bool:
        known = await scene.bank.look_up(walker.reference)
        return isinstance(known, BankPayment) and known.state is not PaymentState.ACCEPTED

    await until(f"{walker.cell.name} has settled at the bank", done, PATIENCE_SECONDS)

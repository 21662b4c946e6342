"""A bank behind its breaker: workers share what they know of it through Redis, and do without Redis, too."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from bank_adapters.breaker import Breaker, BreakerRules, Phase
from bank_adapters.breaker_states import SharedStates
from bank_adapters.guarded import GuardedBank
from bank_adapters.port import NotSeen, PaymentInstruction
from bank_adapters.simulated.adapter import SimulatedBank
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.errors import BankUnavailable, BankUnknown
from domain.money import Money
from infra.local.probes import free_ports
from infra.redis import make_redis
from infra.settings import Settings
from infra.telemetry import render_metrics
from tests.rest.stage import Stage
from tests.stack.bank import BankProcess, Customer, link_customer, running_bank
from tests.stack.servers import Servers
from tests.workflow.scene import until

RULES = BreakerRules(calls=20, failures=5, pause_seconds=60)

MakeWorker = Callable[[], Awaitable[GuardedBank]]


@pytest.fixture
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    with running_bank(tmp_path_factory.mktemp("bank")) as bank:
        yield bank


@pytest.fixture
async def worker(process: BankProcess, bare_servers: Servers) -> AsyncIterator[MakeWorker]:
    """Makes the bank as one worker process has it, with a connection to Redis of its own."""
    async with AsyncExitStack() as stack:

        async def make() -> GuardedBank:
            return await guarded(stack, process, bare_servers.settings)

        yield make


async def guarded(stack: AsyncExitStack, process: BankProcess, settings: Settings) -> GuardedBank:
    states = SharedStates(make_redis(settings))
    stack.push_async_callback(states.aclose)
    bank = SimulatedBank(process.url, request_timeout_seconds=20)
    stack.push_async_callback(bank.aclose)
    # Named by the process's address: states of other tests are none of this one's.
    return GuardedBank(bank, Breaker(process.url, states, RULES))


async def _ends(bank: GuardedBank, times: int) -> list[str]:
    """How calls about different payments end, one after the other."""
    ends = []
    for number in range(times):
        try:
            await bank.look_up(f"txn_{number}")
        except BankUnavailable as error:
            ends.append("held back" if error.retry_after_seconds else "unreachable")
        else:
            ends.append("answered")
    return ends


async def test_what_one_worker_has_learnt_the_other_knows(
    process: BankProcess, worker: MakeWorker, bare_servers: Servers
) -> None:
    first, second = [await worker() for _ in range(2)]
    process.kill()
    assert await _ends(first, 6) == ["unreachable"] * 5 + ["held back"]
    assert await _ends(second, 3) == ["held back"] * 3
    process.restart()
    await _end_pause(bare_servers.settings, process.url)
    assert await _ends(second, 3) == ["answered"] * 3
    assert await _ends(first, 5) == ["answered"] * 5


async def test_where_the_bank_is_still_gone_one_call_finds_out_for_all(
    process: BankProcess, worker: MakeWorker, bare_servers: Servers
) -> None:
    first, second = [await worker() for _ in range(2)]
    process.kill()
    await _ends(first, 5)
    await _end_pause(bare_servers.settings, process.url)
    assert await _ends(second, 2) == ["unreachable", "held back"]
    assert await _ends(first, 1) == ["held back"]


async def test_without_redis_each_worker_learns_for_itself(process: BankProcess, bare_servers: Servers) -> None:
    nowhere = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    alone = bare_servers.settings.model_copy(update={"redis_url": nowhere})
    async with AsyncExitStack() as stack:
        workers = [await guarded(stack, process, alone) for _ in range(2)]
        process.kill()
        for bank in workers:
            assert await _ends(bank, 6) == ["unreachable"] * 5 + ["held back"]


async def test_unknown_outcomes_count_and_stay_unknown_and_what_is_held_back_was_never_sent(
    process: BankProcess, worker: MakeWorker
) -> None:
    bank = await worker()
    async with process.admin() as admin:
        customer = await link_customer(bank, admin)
        await admin.set_fault(FaultKind.ERROR_AFTER, operation=Operation.PULL)
        for number in range(5):
            with pytest.raises(BankUnknown):
                await bank.pull(_instruction(customer, number))
        with pytest.raises(BankUnavailable):
            await bank.pull(_instruction(customer, 5))
        await admin.clear_faults()
    plain = SimulatedBank(process.url, request_timeout_seconds=20)
    known = [await plain.look_up(_instruction(customer, number).reference) for number in range(6)]
    await plain.aclose()
    assert [isinstance(answer, NotSeen) for answer in known] == [False] * 5 + [True]


async def test_refusals_are_answers(process: BankProcess, worker: MakeWorker) -> None:
    bank = await worker()
    async with process.admin() as admin:
        customer = await link_customer(bank, admin, opening_balance=0)
        for number in range(10):
            assert (await bank.pull(_instruction(customer, number))).refusal_code is not None
    told = render_metrics().decode()
    assert 'sagapay_bank_breaker{bank="simulator"} 0.0' in told
    assert 'sagapay_bank_calls_total{bank="simulator",call="pull",outcome="answered"}' in told
    assert 'sagapay_bank_call_seconds_count{bank="simulator",call="pull"}' in told


async def test_readiness_tells_of_the_breaker_and_payments_are_accepted_all_the_same(rest: Stage) -> None:
    states = SharedStates(make_redis(rest.settings))
    try:
        await states.open("simulator", 30)
        ready = await rest.app.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded"), ready.text
        assert ready.json()["checks"]["bank:simulator"]["status"] == "down"
        assert "breaker open" in ready.json()["checks"]["bank:simulator"]["detail"]
        await _end_pause(rest.settings, "simulator")
        assert "half open" in (await rest.app.get("/readyz")).json()["checks"]["bank:simulator"]["detail"]
    finally:
        assert await states.note_success("simulator", 1)
        await states.aclose()
    assert (await rest.app.get("/readyz")).json()["checks"]["bank:simulator"] == {"status": "ok"}


async def _end_pause(settings: Settings, bank: str) -> None:
    """As if the breaker's pause were over."""
    states = SharedStates(make_redis(settings))
    await states.open(bank, 0.001)

    async def half_open() -> bool:
        return (await states.read(bank)).phase is Phase.HALF_OPEN

    await until("the pause is over", half_open)
    await states.aclose()


def _instruction(customer: Customer, number: int) -> PaymentInstruction:
    return PaymentInstruction(
        reference=f"txn_guarded_{number}:pull", account_token=customer.account_token, amount=Money(100, "USD")
    )

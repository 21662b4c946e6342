"""The worker's composition root: build, register, run. `python worker.py` runs it.

One process polls every queue: transfers, payments, batches, operations, and one queue per bank. The API builds the
transfer worker from here too, so that transfers start eagerly in its own process.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib.metadata import version
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import FixedSizeSlotSupplier, Worker, WorkerTuner
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from activities.bank import BankActivities
from activities.bank_events import BankEventActivities
from activities.bank_places import BankPlaces
from activities.batches import BatchActivities
from activities.expiry import ExpiryActivities
from activities.ledger import LedgerActivities
from activities.returns import ReturnActivities
from activities.sweep import SweepActivities
from activities.webhooks import WebhookActivities
from bank_adapters.breaker import Breaker, BreakerRules, BreakerStates
from bank_adapters.breaker_states import SharedStates
from bank_adapters.guarded import GuardedBank
from bank_adapters.port import BankAdapter
from bank_adapters.registry import bank_names, open_bank
from domain.contracts.activities import FirstStepWitness
from domain.contracts.batches import BATCH_QUEUE
from domain.contracts.payments import OPERATIONS_QUEUE, PAYMENT_QUEUE, TRANSFER_QUEUE, bank_queue
from domain.contracts.webhooks import WEBHOOK_QUEUE
from domain.errors import WorkflowsUnavailable
from events.webhook_sender import Deliverer, open_deliverer
from infra.clock import business_clock
from infra.redis import make_redis
from infra.role import Backoff, Life, run_role
from infra.sandbox import ContextFreeRunner
from infra.schedules import ensure_schedules
from infra.secrets import Cipher
from infra.settings import Settings, settings
from infra.telemetry import configure_logging
from infra.temporal import connect
from ledger.bank_events import BankEvents
from ledger.batches import Batches
from ledger.directory import Directory
from ledger.opening import open_ledger
from ledger.service import LedgerService
from ledger.shards import Shards
from workflows.bank_events import BankEventsWorkflow
from workflows.deposit import DepositWorkflow
from workflows.expiry import ExpireHoldsWorkflow
from workflows.returns import ReturnWorkflow, WatchReturnsWorkflow
from workflows.sweep import SweepWorkflow
from workflows.transfer import TransferWorkflow
from workflows.transfer_batch import TransferBatchWorkflow
from workflows.webhooks import WebhookRetriesWorkflow
from workflows.withdrawal import WithdrawalWorkflow

WORKFLOW_RUNNER: Final = ContextFreeRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        "domain", "workflows", "pydantic", "pydantic_core", "uuid_utils"
    )
)
WORKFLOWS: Final[Mapping[str, Sequence[type]]] = {
    TRANSFER_QUEUE: (TransferWorkflow,),
    PAYMENT_QUEUE: (DepositWorkflow, WithdrawalWorkflow, ReturnWorkflow),
    BATCH_QUEUE: (TransferBatchWorkflow,),
    WEBHOOK_QUEUE: (WebhookRetriesWorkflow,),
    OPERATIONS_QUEUE: (SweepWorkflow, ExpireHoldsWorkflow, WatchReturnsWorkflow, BankEventsWorkflow),
}
"""What runs on which queue. Recorded histories are replayed against all of them, in the runner above."""

BUILD_ID: Final = f"sagapay-{version('sagapay')}"
"""Without one the SDK compiles the source of every loaded module for a digest: seconds at each start."""

BATCHES_AT_ONCE: Final = 4
"""Slices that a process pays at once. Each has hundreds of transfers with the ledger, beside everybody else's."""

_GRACE: Final = timedelta(seconds=10)
_log = structlog.get_logger(__name__)


def build_transfer_worker(
    client: Client, ledger: LedgerService, settings: Settings, witness: FirstStepWitness | None = None
) -> Worker:
    """Transfers only: their workflow and the one step they take, which `witness` is told of."""
    return Worker(
        client,
        task_queue=TRANSFER_QUEUE,
        workflows=WORKFLOWS[TRANSFER_QUEUE],
        activities=LedgerActivities(ledger, witness).for_transfers(),
        workflow_runner=WORKFLOW_RUNNER,
        max_concurrent_workflow_tasks=settings.worker_max_concurrent,
        max_concurrent_local_activities=settings.worker_max_concurrent,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.worker_sticky_seconds),
        graceful_shutdown_timeout=_GRACE,
        build_id=BUILD_ID,
    )


def build_webhook_worker(client: Client, deliverer: Deliverer, settings: Settings) -> Worker:
    """Webhooks alone, so that apps which do not answer take no place from payments."""
    return Worker(
        client,
        task_queue=WEBHOOK_QUEUE,
        workflows=WORKFLOWS[WEBHOOK_QUEUE],
        activities=[WebhookActivities(deliverer).deliver_due_webhooks],
        workflow_runner=WORKFLOW_RUNNER,
        max_concurrent_activities=settings.worker_max_concurrent,
        graceful_shutdown_timeout=_GRACE,
        build_id=BUILD_ID,
    )


def build_workers(
    client: Client,
    ledger: LedgerService,
    directory: Directory,
    batches: Batches,
    banks: Mapping[str, BankAdapter],
    *,
    settings: Settings,
) -> list[Worker]:
    """A worker for each queue. A bank's calls have their own, so that a dead bank takes no place from the others."""
    ledger_activities = LedgerActivities(ledger)
    return_activities = ReturnActivities(banks, directory, ledger, business_clock(settings))
    payments = Worker(
        client,
        task_queue=PAYMENT_QUEUE,
        workflows=WORKFLOWS[PAYMENT_QUEUE],
        activities=[
            *ledger_activities.all(),
            return_activities.take_return,
            return_activities.clear_return,
            return_activities.follow_return,
        ],
        workflow_runner=WORKFLOW_RUNNER,
        max_concurrent_workflow_tasks=settings.worker_max_concurrent,
        max_concurrent_activities=settings.worker_max_concurrent,
        max_concurrent_local_activities=settings.worker_max_concurrent,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.worker_sticky_seconds),
        graceful_shutdown_timeout=_GRACE,
        build_id=BUILD_ID,
    )
    in_batches = Worker(
        client,
        task_queue=BATCH_QUEUE,
        workflows=WORKFLOWS[BATCH_QUEUE],
        activities=BatchActivities(ledger, batches, client, settings.retry_plan()).all(),
        workflow_runner=WORKFLOW_RUNNER,
        max_concurrent_activities=BATCHES_AT_ONCE,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.worker_sticky_seconds),
        graceful_shutdown_timeout=_GRACE,
        build_id=BUILD_ID,
    )
    operations = Worker(
        client,
        task_queue=OPERATIONS_QUEUE,
        workflows=WORKFLOWS[OPERATIONS_QUEUE],
        activities=[
            SweepActivities(ledger, batches, client, settings).sweep_orphans,
            ExpiryActivities(ledger).expire_holds,
            BankEventActivities(BankEvents(directory.engine, directory.cipher), ledger, client).handle_bank_events,
        ],
        workflow_runner=WORKFLOW_RUNNER,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.worker_sticky_seconds),
        graceful_shutdown_timeout=_GRACE,
        build_id=BUILD_ID,
    )
    transfers = build_transfer_worker(client, ledger, settings)
    at_banks = _build_bank_workers(
        client, banks, BankActivities(banks, directory, ledger), return_activities, settings=settings
    )
    return [transfers, payments, in_batches, operations, *at_banks]


def _build_bank_workers(
    client: Client,
    banks: Mapping[str, BankAdapter],
    payments: BankActivities,
    returns: ReturnActivities,
    *,
    settings: Settings,
) -> list[Worker]:
    return [
        Worker(
            client,
            task_queue=bank_queue(name),
            activities=[
                payments.pull_from_bank,
                payments.push_to_bank,
                payments.look_up_at_bank,
                payments.cancel_at_bank,
                returns.find_returns,
            ],
            tuner=_places(bank, settings.worker_max_concurrent),
            max_task_queue_activities_per_second=bank.capabilities.calls_per_second,
            disable_eager_activity_execution=True,
            graceful_shutdown_timeout=_GRACE,
            build_id=BUILD_ID,
        )
        for name, bank in banks.items()
    ]


def _places(bank: BankAdapter, most: int) -> WorkerTuner:
    """For its calls; a bank that is left alone is asked for no payment."""
    fixed = FixedSizeSlotSupplier(most)
    return WorkerTuner.create_composite(
        workflow_supplier=fixed,
        activity_supplier=BankPlaces(bank.breaker, most) if isinstance(bank, GuardedBank) else fixed,
        local_activity_supplier=fixed,
        nexus_supplier=fixed,
    )


def guarded(banks: Mapping[str, BankAdapter], states: BreakerStates, settings: Settings) -> Mapping[str, BankAdapter]:
    """The same banks, each behind its circuit breaker."""
    rules = BreakerRules.from_settings(settings)
    return {name: GuardedBank(bank, Breaker(name, states, rules)) for name, bank in banks.items()}


async def work(settings: Settings, life: Life) -> None:
    """Poll every queue until the role is asked to end; waits for Temporal where it is not there yet."""
    client = await _connected(settings, life)
    if client is None:
        return
    async with AsyncExitStack() as stack:
        ledger = open_ledger(settings)
        stack.push_async_callback(ledger.aclose)
        shards = Shards(settings)
        stack.push_async_callback(shards.aclose)
        cipher = Cipher.from_settings(settings)
        cipher.demand_keys()
        directory = Directory(shards.all[0].engine, cipher)
        states = SharedStates(make_redis(settings))
        stack.push_async_callback(states.aclose)
        banks = guarded({name: open_bank(name, settings) for name in bank_names()}, states, settings)
        for bank in banks.values():
            stack.push_async_callback(bank.aclose)
        for worker in build_workers(client, ledger, directory, Batches(shards), banks, settings=settings):
            await stack.enter_async_context(worker)
        deliverer = open_deliverer(settings, directory.engine)
        stack.push_async_callback(deliverer.aclose)
        await stack.enter_async_context(build_webhook_worker(client, deliverer, settings))
        await ensure_schedules(client, settings, list(banks))
        life.ready()
        await life.until_stopped()


async def _connected(settings: Settings, life: Life) -> Client | None:
    backoff = Backoff(0.2, 5)
    while not life.stopping:
        try:
            client = await connect(settings)
            await client.service_client.check_health()
        except (WorkflowsUnavailable, RPCError) as error:
            _log.warning("waiting for Temporal", error=str(error))
            await life.pause(backoff.next_seconds())
        else:
            return client
    return None


def run(settings: Settings) -> None:
    """The `worker` role."""
    configure_logging(settings.log_level, "worker")
    run_role("worker", settings, lambda life: work(settings, life))


if __name__ == "__main__":
    run(settings())

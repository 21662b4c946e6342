"""Every way a batch of transfers can go, by name. Each asserts on balances and counts, and can be recorded."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from temporalio.client import WorkflowHandle

from domain.batches import BatchMode, BatchStatus
from domain.contracts.batches import BatchCounts, BatchRequest
from domain.contracts.workflows import RETRY_UPDATE
from domain.ids import BatchId, WalletId
from infra.batches import start_batch
from ledger.batch_records import Batch
from ledger.batches import Batches
from tests.money.batches import Transfer, new_batch, unused_key
from tests.workflow.operators import COMMAND, sweep
from tests.workflow.scene import Scene, until

Walk = Callable[[Scene], Awaitable[Batch]]
Handle = WorkflowHandle[object, BatchCounts]

WALKS: Final[dict[str, Walk]] = {}


def walk(function: Walk) -> Walk:
    """Registers a walk under its function's name."""
    WALKS[function.__name__] = function
    return function


class Payroll:
    """Batches of a scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.batches = Batches(scene.ledger.shards)

    async def accept(
        self, sender: WalletId, transfers: Sequence[Transfer], mode: BatchMode = BatchMode.INDEPENDENT
    ) -> Batch:
        """Record a batch, as the API does, and leave it there."""
        batch, _ = await self.batches.accept(new_batch(self.scene.app, sender, transfers, mode), unused_key())
        return batch

    async def start(self, batch: Batch) -> Handle:
        """Start its workflow."""
        request = BatchRequest(batch_id=batch.batch_id, mode=batch.mode, transfers=batch.transfers)
        await start_batch(self.scene.temporal, request, batch.client_id)
        return self.handle(batch.batch_id)

    def handle(self, batch_id: BatchId) -> Handle:
        """Its newest run."""
        return self.scene.temporal.get_workflow_handle(batch_id, result_type=BatchCounts)

    async def found(self, batch: Batch) -> Batch:
        """The batch as it is now."""
        found = await self.batches.batch(batch.batch_id)
        assert found is not None
        return found

    async def ended(self, batch: Batch) -> Batch:
        """The batch once it is final."""

        async def final() -> bool:
            return (await self.found(batch)).status.final

        await until(f"{batch.batch_id} has ended", final)
        return await self.found(batch)

    async def attention(self, batch: Batch) -> str | None:
        """The reason for which operators find it."""
        described = await self.handle(batch.batch_id).describe()
        found = [pair.value for pair in described.typed_search_attributes if pair.key.name == "Attention"]
        return str(found[0]) if found else None


@walk
async def batch_paid(scene: Scene) -> Batch:
    """Where the money runs out, what is smaller still goes."""
    payroll, receiver = Payroll(scene), await scene.app.open_wallet()
    sender = (await scene.person(balance=100)).wallet_id
    batch = await payroll.accept(sender, [(receiver, 60), (receiver, 60), (receiver, 40)])
    handle = await payroll.start(batch)
    assert await handle.result() == BatchCounts(succeeded=2, failed=1)
    assert await scene.app.money(receiver) == (100, 0)
    return batch


@walk
async def batch_paid_atomically(scene: Scene) -> Batch:
    payroll, receiver = Payroll(scene), await scene.app.open_wallet()
    sender = (await scene.person(balance=100)).wallet_id
    batch = await payroll.accept(sender, [(receiver, 60), (receiver, 40)], BatchMode.ATOMIC)
    handle = await payroll.start(batch)
    assert await handle.result() == BatchCounts(succeeded=2)
    assert await scene.app.money(receiver) == (100, 0)
    return batch


@walk
async def batch_refused_atomically(scene: Scene) -> Batch:
    payroll, receiver = Payroll(scene), await scene.app.open_wallet()
    sender = (await scene.person(balance=100)).wallet_id
    batch = await payroll.accept(sender, [(receiver, 60), (receiver, 41)], BatchMode.ATOMIC)
    handle = await payroll.start(batch)
    assert await handle.result() == BatchCounts(failed=2)
    assert (await payroll.found(batch)).status is BatchStatus.FAILED
    assert (await scene.app.money(sender), await scene.app.money(receiver)) == ((100, 0), (0, 0))
    return batch


@walk
async def batch_without_a_workflow_swept(scene: Scene) -> Batch:
    payroll, receiver = Payroll(scene), await scene.app.open_wallet()
    sender = (await scene.person(balance=100)).wallet_id
    batch = await payroll.accept(sender, [(receiver, 100)])
    await sweep(scene.temporal)
    assert (await payroll.ended(batch)).status is BatchStatus.COMPLETED
    assert await scene.app.money(receiver) == (100, 0)
    return batch


@walk
async def batch_terminated_then_swept(scene: Scene) -> Batch:
    payroll, receiver = Payroll(scene), await scene.app.open_wallet()
    sender = (await scene.person(balance=100)).wallet_id
    batch = await payroll.accept(sender, [(receiver, 1)] * 100)
    handle = await payroll.start(batch)
    await handle.terminate("a test")
    await sweep(scene.temporal)
    assert (await payroll.ended(batch)).counts == BatchCounts(succeeded=100)
    assert await scene.app.money(receiver) == (100, 0)
    return batch


@walk
async def batch_cancelled_in_the_ui(scene: Scene) -> Batch:
    """It does not stop half way."""
    payroll, receiver = Payroll(scene), await scene.app.open_wallet()
    sender = (await scene.person(balance=50)).wallet_id
    batch = await payroll.accept(sender, [(receiver, 1)] * 50)
    handle = await payroll.start(batch)
    await handle.cancel()
    assert await handle.result() == BatchCounts(succeeded=50)
    return batch


@walk
async def batch_parked_then_retried(scene: Scene) -> Batch:
    return await _parked(scene, BatchMode.INDEPENDENT, BatchCounts(pending=1, succeeded=2))


@walk
async def batch_parked_atomically_then_retried(scene: Scene) -> Batch:
    return await _parked(scene, BatchMode.ATOMIC, BatchCounts(pending=3))


async def _parked(scene: Scene, mode: BatchMode, counts: BatchCounts) -> Batch:
    payroll, receiver = Payroll(scene), await scene.app.open_wallet()
    sender, nowhere = (await scene.person(balance=100)).wallet_id, WalletId.new(receiver.bucket)
    batch = await payroll.accept(sender, [(receiver, 10), (nowhere, 10), (receiver, 10)], mode)
    handle = await payroll.start(batch)

    async def parked() -> bool:
        return await payroll.attention(batch) == "ledger_rejected"

    await until("the batch is parked", parked)
    assert (await payroll.found(batch)).counts == counts
    user = (await scene.app.wallet(receiver)).user_id
    await scene.ledger.open_wallet(nowhere, user, scene.app.client_id, "USD")
    await handle.execute_update(RETRY_UPDATE, COMMAND)
    assert await handle.result() == BatchCounts(succeeded=3)
    assert await payroll.attention(batch) is None
    assert await scene.app.money(nowhere) == (10, 0)
    return batch

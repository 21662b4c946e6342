"""Batches that are paid while the worker dies."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

from domain.batches import BatchItemStatus, BatchMode, BatchStatus
from domain.contracts.batches import CLOSE_BATCH, PAY_BATCH_ITEMS, SETTLE_BATCH
from domain.contracts.wallets import ChangeKind
from domain.ids import WalletId
from ledger.batch_records import Batch
from tests.kills.walk import AnyHandle, Facts, Walk
from tests.money.batches import Transfer
from tests.money.requests import change_wallet
from tests.workflow.batch_walks import Payroll
from tests.workflow.scene import Scene

OPENING: Final = 100
PAID, FAILED = BatchItemStatus.SUCCEEDED, BatchItemStatus.FAILED


class _Batch(Walk):
    """A batch of somebody who has OPENING, for a receiver on their own shard and one on the other."""

    MODE = BatchMode.INDEPENDENT

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._payroll = Payroll(scene)
        self._made: tuple[Batch, WalletId, WalletId] | None = None

    @property
    def _all_made(self) -> tuple[Batch, WalletId, WalletId]:
        assert self._made is not None, "it is prepared"
        return self._made

    @property
    def handle(self) -> AnyHandle:
        """See Walk."""
        return self._payroll.handle(self._all_made[0].batch_id)

    async def prepare(self) -> None:
        """See Walk."""
        sender = (await self.scene.person(balance=OPENING)).wallet_id
        shard = self.scene.ledger.shards.number_of(sender)
        near = await self.scene.app.open_wallet(shard=shard)
        far = await self.scene.app.open_wallet(shard=1 - shard)
        batch = await self._payroll.accept(sender, await self.transfers(near, far), self.MODE)
        self._made = (batch, near, far)

    @abstractmethod
    async def transfers(self, near: WalletId, far: WalletId) -> Sequence[Transfer]:
        """Whom it is to pay, and how much."""

    async def go(self) -> None:
        """See Walk."""
        handle = await self._payroll.start(self._all_made[0])
        await handle.result()

    async def facts(self) -> Facts:
        """See Walk. A wallet's version is the number of its entries."""
        accepted, near, far = self._all_made
        batch = await self._payroll.found(accepted)
        items = await self._payroll.batches.items(batch.batch_id, first=0, limit=100)
        assert len({item.transaction_id for item in items}) in (1, len(items))
        return {
            "batch": batch.status,
            "items": [item.status for item in items],
            "sender": await self.scene.app.money(batch.sender_id),
            "near": await self._money_and_entries(near),
            "far": await self._money_and_entries(far),
        }

    async def _money_and_entries(self, wallet_id: WalletId) -> tuple[int, int]:
        wallet = await self.scene.app.wallet(wallet_id)
        assert wallet.held == 0
        return wallet.posted, wallet.version


class PaidAcrossShards(_Batch):
    """Three slices: one receiver is frozen and its sender has the money again, and in the end it does not suffice."""

    CALLS = (PAY_BATCH_ITEMS, PAY_BATCH_ITEMS, PAY_BATCH_ITEMS, CLOSE_BATCH)
    GOES_ON = True
    EXPECTED: ClassVar[Facts] = {
        "batch": BatchStatus.COMPLETED,
        "items": [PAID, PAID, FAILED, PAID, FAILED],
        "sender": (40, 0),
        "near": (40, 2),
        "far": (20, 1),
    }

    async def transfers(self, near: WalletId, far: WalletId) -> Sequence[Transfer]:
        """See _Batch."""
        frozen = await self.scene.app.open_wallet(shard=self.scene.ledger.shards.number_of(far))
        await change_wallet(self.scene.ledger, frozen, ChangeKind.FREEZE)
        return [(near, 10), (far, 20), (frozen, 15), (near, 30), (far, 41)]


class OnTheirWay(_Batch):
    """The other shard is down: what goes there goes on in a workflow of its own, and the batch waits for it."""

    CALLS = (PAY_BATCH_ITEMS, CLOSE_BATCH, CLOSE_BATCH)
    GOES_ON = True
    EXPECTED: ClassVar[Facts] = {
        "batch": BatchStatus.COMPLETED,
        "items": [PAID, PAID],
        "sender": (70, 0),
        "near": (10, 1),
        "far": (20, 1),
    }

    @property
    def down(self) -> frozenset[str]:
        """See Walk."""
        return frozenset({self._all_made[0].sender_id})

    async def transfers(self, near: WalletId, far: WalletId) -> Sequence[Transfer]:
        """See _Batch."""
        return [(near, 10), (far, 20)]


class PaidAtOnce(_Batch):
    """All in one commit."""

    MODE = BatchMode.ATOMIC
    CALLS = (SETTLE_BATCH, CLOSE_BATCH)
    EXPECTED: ClassVar[Facts] = {
        "batch": BatchStatus.COMPLETED,
        "items": [PAID, PAID],
        "sender": (0, 0),
        "near": (100, 2),
        "far": (0, 0),
    }

    async def transfers(self, near: WalletId, far: WalletId) -> Sequence[Transfer]:
        """See _Batch."""
        return [(near, 60), (near, 40)]


class RefusedAtOnce(PaidAtOnce):
    """There is not enough for all of them, so nothing is paid."""

    EXPECTED: ClassVar[Facts] = {
        "batch": BatchStatus.FAILED,
        "items": [FAILED, FAILED],
        "sender": (100, 0),
        "near": (0, 0),
        "far": (0, 0),
    }

    async def transfers(self, near: WalletId, far: WalletId) -> Sequence[Transfer]:
        """See _Batch."""
        return [(near, 60), (near, 41)]


BATCHES: Final = (PaidAcrossShards, OnTheirWay, PaidAtOnce, RefusedAtOnce)

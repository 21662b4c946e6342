"""What the receivers' shards have recorded of transfers between shards, asked for many at once."""

from functools import partial

from domain.errors import LedgerRejected
from domain.ids import TransactionId, WalletId
from domain.transactions import StepDecision
from infra.database import reading
from infra.together import Together
from ledger import queries
from ledger.shards import Shard, Shards


class Received:
    """Reads on both shards of a transfer; those of a moment share them."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._receivers = [Together(partial(_receivers_on, shard)) for shard in shards.all]
        self._outcomes = [Together(partial(_outcomes_on, shard)) for shard in shards.all]

    async def outcome(self, transaction_id: TransactionId) -> StepDecision | None:
        """What became of receiving it, None if nothing yet. Raises LedgerRejected for what is no recorded transfer."""
        receiver = await self._receivers[self._shards.number_of(transaction_id)].ask(transaction_id)
        if receiver is None:
            raise LedgerRejected(f"{transaction_id} is not recorded as a transfer")
        return await self._outcomes[self._shards.number_of(receiver)].ask(transaction_id)

    async def aclose(self) -> None:
        """Wait for what is on its way."""
        for receivers, outcomes in zip(self._receivers, self._outcomes, strict=True):
            await receivers.aclose()
            await outcomes.aclose()


async def _receivers_on(shard: Shard, ids: list[TransactionId]) -> list[WalletId | None]:
    async with reading(shard.engine) as connection:
        found = await queries.find_receivers(connection, ids)
    return [found.get(transaction_id) for transaction_id in ids]


async def _outcomes_on(shard: Shard, ids: list[TransactionId]) -> list[StepDecision | None]:
    async with reading(shard.engine) as connection:
        found = await queries.find_received(connection, ids)
    return [found.get(transaction_id) for transaction_id in ids]

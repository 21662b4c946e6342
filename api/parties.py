"""Whose wallet: ids from outside → wallets of this client. Facts that never change are remembered, absence never."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from domain.errors import NotFound
from domain.ids import ClientId, UserId, WalletId
from ledger.directory import Directory, Party
from ledger.queries import find_unopened
from ledger.service import LedgerService
from ledger.shards import Shards

MAX_REMEMBERED: Final = 100_000


class Parties:
    """Resolves wallet and user ids to wallets, one question to the directory for all that are not remembered."""

    def __init__(self, directory: Directory, ledger: LedgerService, shards: Shards) -> None:
        self._directory = directory
        self._ledger = ledger
        self._shards = shards
        self._known: OrderedDict[str, Party] = OrderedDict()

    async def find(self, client_id: ClientId, ids: Sequence[WalletId | UserId]) -> list[Party | None]:
        """The wallet behind each id, in order; None for an unknown id and, alike, for a foreign one."""
        if missing := [item for item in ids if item not in self._known]:
            await self._look_up(missing)
        found = [self._known.get(item) for item in ids]
        return [party if party is not None and party.client_id == client_id else None for party in found]

    async def resolve(self, client_id: ClientId, *ids: WalletId | UserId) -> list[Party]:
        """The wallet behind each id, in order. Raises NotFound for an unknown id and, alike, for a foreign one."""
        if any(item not in self._known for item in ids):
            await self._look_up([item for item in ids if item not in self._known])
        found = []
        for item in ids:
            party = self._known.get(item)
            if party is None or party.client_id != client_id:
                raise NotFound(f"There is no {item} for this client.")
            self._known.move_to_end(item)
            found.append(party)
        return found

    async def _look_up(self, ids: list[WalletId | UserId]) -> None:
        wallets = [item for item in ids if isinstance(item, WalletId)]
        users = [item for item in ids if isinstance(item, UserId)]
        found = await self._directory.parties(wallets, users)
        await self._ensure_open(found)
        for party in found:
            self._known[party.wallet_id] = self._known[party.user_id] = party
        # Room for the ids of the request in hand is left in any case.
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    async def _ensure_open(self, parties: Sequence[Party]) -> None:
        # The directory commits first; a crash before the ledger's commit is made good here.
        missing = set(await find_unopened(self._shards, [party.wallet_id for party in parties]))
        for party in parties:
            if party.wallet_id in missing:
                await self._ledger.open_wallet(party.wallet_id, party.user_id, party.client_id, party.currency)

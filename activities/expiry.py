"""Ending holds whose time has come, clients' and those of deposits, a page after the other."""

from dataclasses import dataclass
from typing import Final

from temporalio import activity

from activities.failures import as_failures
from activities.heartbeats import heartbeats
from domain.contracts.holds import EXPIRE_HOLDS, ExpiryReport
from ledger.service import LedgerService

PAGE: Final = 500
"""Holds of a shard that are ended together: a few of the writer's groups."""


@dataclass(frozen=True, slots=True)
class ExpiryActivities:
    """Needs the ledger, whose clock says what is due."""

    ledger: LedgerService

    @activity.defn(name=EXPIRE_HOLDS)
    async def expire_holds(self) -> ExpiryReport:
        """End what is due until nothing is, then let go of deposits that have waited long enough.

        Safe beside another run: each hold ends once, whoever comes first.

        Retryable: ledger_unavailable, also where only one shard is down; the holds of the others have ended then.
        """
        due = matured = 0
        with as_failures():
            async with heartbeats(lambda: due + matured):
                while found := await self.ledger.expire_holds(PAGE):
                    due += found
                while found := await self.ledger.mature_deposits(PAGE):
                    matured += found
        return ExpiryReport(due=due, matured=matured)

"""What each step does to the ledger, as one table. Pure: no I/O, everything that moves money is on this page.

Bookkeeping (wallets and `due_to` are credit-normal, bank settlement, clearing and `due_from` debit-normal):

| step | debit | credit | hold | then |
|---|---|---|---|---|
| settle_transfer | source wallet | destination wallet | | succeeded |
| send_transfer | source wallet | due to | | processing |
| receive_transfer | due from | destination wallet | | processing |
| complete_transfer | | | | succeeded |
| reverse_transfer | due to | source wallet | | failed |
| capture_hold | source wallet | destination wallet | drawn on | succeeded |
| record_deposit | | | | processing |
| credit_deposit | clearing | destination wallet | placed on the destination wallet for what is at risk | processing |
| settle_deposit | bank settlement | clearing | | succeeded |
| mature_deposit | | | released, of what was at risk | succeeded |
| fail_deposit | | | | failed |
| hold_withdrawal | | | placed on the source wallet | processing |
| capture_withdrawal | source wallet | clearing | captured | processing |
| settle_withdrawal | clearing | bank settlement | | succeeded |
| release_withdrawal | | | released | failed |
| return_deposit | receivable | bank settlement | captured, of what was at risk | returned |
| return_withdrawal | bank settlement | source wallet | | returned |
| suspend_outgoing | suspense | bank settlement | | |
| suspend_incoming | bank settlement | suspense | | |
| clear_outgoing | bank settlement | suspense | | |
| clear_incoming | suspense | bank settlement | | |
| write_off_outgoing | losses | suspense | | |
| write_off_incoming | suspense | losses | | |
| write_off_debt | losses | receivable | | |

The last seven are no payment's: they book what a bank has taken from us or sent to us and is not, or not yet, any
payment's (`ledger/suspense.py`), and debts that two operators write off (`ledger/write_offs.py`).

A transfer to another shard is sent in place of settled; due to and due from are kept for each other shard. It is
received on the receiver's shard, where its transaction is not recorded. So is a capture for a receiver there, which
draws on its hold when it is sent.

A returned deposit is owed by its wallet. Whatever step leaves money in a wallet that owes some collects it in the same
posting: source or destination wallet debited, receivable credited. What is held is not touched, but for what a returned
deposit has itself at risk, which goes first. What is at risk of a deposit (`domain/availability.py`) is held of what is
left of it when debts are paid.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.transactions import Step, TransactionKind, TransactionStatus


class Role(StrEnum):
    """An account's part in a step; `ledger/accounts.py` turns it into an account."""

    SOURCE = "source_wallet"
    DESTINATION = "destination_wallet"
    CLEARING = "clearing"
    SETTLEMENT = "bank_settlement"
    DUE_TO = "due_to"
    DUE_FROM = "due_from"
    RECEIVABLE = "receivable"
    SUSPENSE = "suspense"
    LOSSES = "losses"


class HoldChange(StrEnum):
    """What a step does with a hold on the source wallet: its transaction's own, or (DRAW) one that a client placed.

    A deposit's is on the destination wallet, for what is at risk of it, if anything is: placed (DEFER), released
    (MATURE), or taken by the deposit's return (FORFEIT).
    """

    PLACE = "place"
    CAPTURE = "capture"
    RELEASE = "release"
    DRAW = "draw"
    DEFER = "defer"
    MATURE = "mature"
    FORFEIT = "forfeit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table. A first step decides (funds, frozen, closed); a later one only finishes.

    `after` is a step that must have been posted before; `not_after` one that must not have been. A step taken
    `elsewhere`, on the other shard of a payment, decides too; its payment is not recorded there. A step without `kind`
    is no payment's.
    """

    kind: TransactionKind | None = None
    then: TransactionStatus = TransactionStatus.PROCESSING
    first: bool = False
    elsewhere: bool = False
    debit: Role | None = None
    credit: Role | None = None
    hold: HoldChange | None = None
    after: Step | None = None
    not_after: Step | None = None

    @property
    def spends(self) -> bool:
        """Whether the source wallet's money begins to leave: what counts against its limits."""
        return self.first and (self.hold is HoldChange.PLACE or (self.debit is Role.SOURCE and self.hold is None))

    @property
    def gives_back(self) -> bool:
        """Whether money that had begun to leave stays in the source wallet after all."""
        return self.then is TransactionStatus.FAILED and (self.hold is HoldChange.RELEASE or self.credit is Role.SOURCE)

    @property
    def leads_to(self) -> TransactionStatus | None:
        """The status that the step moves its payment to; None where it has its last already, or there is none."""
        return None if self.kind is None or self.hold is HoldChange.MATURE else self.then

    @property
    def roles(self) -> tuple[Role, ...]:
        """The accounts that the step locks or asks about."""
        deposit = self.kind is TransactionKind.DEPOSIT
        holder = Role.DESTINATION if deposit else Role.SOURCE
        wanted = [self.debit, self.credit, holder if self.hold or (deposit and self.first) else None]
        return tuple(dict.fromkeys(role for role in wanted if role))


_TRANSFER, _DEPOSIT, _WITHDRAWAL = TransactionKind.TRANSFER, TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL
_PROCESSING, _SUCCEEDED, _FAILED = TransactionStatus.PROCESSING, TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
_RETURNED: Final = TransactionStatus.RETURNED

RULES: Final[Mapping[Step, Rule]] = MappingProxyType(
    {
        Step.SETTLE_TRANSFER: Rule(
            kind=_TRANSFER, first=True, debit=Role.SOURCE, credit=Role.DESTINATION, then=_SUCCEEDED
        ),
        Step.SEND_TRANSFER: Rule(kind=_TRANSFER, first=True, debit=Role.SOURCE, credit=Role.DUE_TO, then=_PROCESSING),
        Step.RECEIVE_TRANSFER: Rule(
            kind=_TRANSFER, elsewhere=True, debit=Role.DUE_FROM, credit=Role.DESTINATION, then=_PROCESSING
        ),
        Step.COMPLETE_TRANSFER: Rule(
            kind=_TRANSFER, after=Step.SEND_TRANSFER, not_after=Step.REVERSE_TRANSFER, then=_SUCCEEDED
        ),
        Step.REVERSE_TRANSFER: Rule(
            kind=_TRANSFER,
            debit=Role.DUE_TO,
            credit=Role.SOURCE,
            after=Step.SEND_TRANSFER,
            not_after=Step.COMPLETE_TRANSFER,
            then=_FAILED,
        ),
        Step.CAPTURE_HOLD: Rule(
            kind=_TRANSFER,
            first=True,
            debit=Role.SOURCE,
            credit=Role.DESTINATION,
            hold=HoldChange.DRAW,
            then=_SUCCEEDED,
        ),
        Step.RECORD_DEPOSIT: Rule(kind=_DEPOSIT, first=True, then=_PROCESSING),
        Step.CREDIT_DEPOSIT: Rule(
            kind=_DEPOSIT,
            debit=Role.CLEARING,
            credit=Role.DESTINATION,
            hold=HoldChange.DEFER,
            after=Step.RECORD_DEPOSIT,
            not_after=Step.FAIL_DEPOSIT,
            then=_PROCESSING,
        ),
        Step.SETTLE_DEPOSIT: Rule(
            kind=_DEPOSIT, debit=Role.SETTLEMENT, credit=Role.CLEARING, after=Step.CREDIT_DEPOSIT, then=_SUCCEEDED
        ),
        Step.MATURE_DEPOSIT: Rule(kind=_DEPOSIT, hold=HoldChange.MATURE, after=Step.SETTLE_DEPOSIT, then=_SUCCEEDED),
        Step.FAIL_DEPOSIT: Rule(kind=_DEPOSIT, after=Step.RECORD_DEPOSIT, not_after=Step.CREDIT_DEPOSIT, then=_FAILED),
        Step.HOLD_WITHDRAWAL: Rule(kind=_WITHDRAWAL, first=True, hold=HoldChange.PLACE, then=_PROCESSING),
        Step.CAPTURE_WITHDRAWAL: Rule(
            kind=_WITHDRAWAL,
            debit=Role.SOURCE,
            credit=Role.CLEARING,
            hold=HoldChange.CAPTURE,
            after=Step.HOLD_WITHDRAWAL,
            not_after=Step.RELEASE_WITHDRAWAL,
            then=_PROCESSING,
        ),
        Step.SETTLE_WITHDRAWAL: Rule(
            kind=_WITHDRAWAL,
            debit=Role.CLEARING,
            credit=Role.SETTLEMENT,
            after=Step.CAPTURE_WITHDRAWAL,
            then=_SUCCEEDED,
        ),
        Step.RELEASE_WITHDRAWAL: Rule(
            kind=_WITHDRAWAL,
            hold=HoldChange.RELEASE,
            after=Step.HOLD_WITHDRAWAL,
            not_after=Step.CAPTURE_WITHDRAWAL,
            then=_FAILED,
        ),
        Step.RETURN_DEPOSIT: Rule(
            kind=_DEPOSIT,
            debit=Role.RECEIVABLE,
            credit=Role.SETTLEMENT,
            hold=HoldChange.FORFEIT,
            after=Step.SETTLE_DEPOSIT,
            then=_RETURNED,
        ),
        Step.RETURN_WITHDRAWAL: Rule(
            kind=_WITHDRAWAL, debit=Role.SETTLEMENT, credit=Role.SOURCE, after=Step.SETTLE_WITHDRAWAL, then=_RETURNED
        ),
        Step.SUSPEND_OUTGOING: Rule(debit=Role.SUSPENSE, credit=Role.SETTLEMENT),
        Step.SUSPEND_INCOMING: Rule(debit=Role.SETTLEMENT, credit=Role.SUSPENSE),
        Step.CLEAR_OUTGOING: Rule(
            debit=Role.SETTLEMENT,
            credit=Role.SUSPENSE,
            after=Step.SUSPEND_OUTGOING,
            not_after=Step.WRITE_OFF_OUTGOING,
        ),
        Step.CLEAR_INCOMING: Rule(
            debit=Role.SUSPENSE,
            credit=Role.SETTLEMENT,
            after=Step.SUSPEND_INCOMING,
            not_after=Step.WRITE_OFF_INCOMING,
        ),
        Step.WRITE_OFF_OUTGOING: Rule(
            debit=Role.LOSSES, credit=Role.SUSPENSE, after=Step.SUSPEND_OUTGOING, not_after=Step.CLEAR_OUTGOING
        ),
        Step.WRITE_OFF_INCOMING: Rule(
            debit=Role.SUSPENSE, credit=Role.LOSSES, after=Step.SUSPEND_INCOMING, not_after=Step.CLEAR_INCOMING
        ),
        Step.WRITE_OFF_DEBT: Rule(debit=Role.LOSSES, credit=Role.RECEIVABLE),
    }
)

ROLES: Final[Mapping[Step, tuple[Role, ...]]] = MappingProxyType({step: rule.roles for step, rule in RULES.items()})
"""The accounts that each step locks or asks about."""

FIRST_STEPS: Final = tuple(step for step, rule in RULES.items() if rule.first)
"""A payment is recorded by exactly one of these."""

OF_CAPTURES: Final = (
    *(Step.CAPTURE_HOLD, Step.SEND_TRANSFER),
    *(Step.RECEIVE_TRANSFER, Step.COMPLETE_TRANSFER, Step.REVERSE_TRANSFER),
)
"""What a transfer takes that names a client's hold: all at once, or on its way to another shard."""

KEYED_STEPS: Final = (*FIRST_STEPS, *(step for step, rule in RULES.items() if rule.elsewhere))
"""Steps that are recorded under a key."""

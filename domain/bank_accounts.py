"""Linked bank accounts: where a link stands, and which way money may go over it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.transactions import TransactionKind


class BankAccountStatus(StrEnum):
    """Where the link of a user's bank account stands."""

    PENDING_VERIFICATION = "pending_verification"
    ACTIVE = "active"
    DEBITS_STOPPED = "debits_stopped"
    RELINK_REQUIRED = "relink_required"
    VERIFICATION_FAILED = "verification_failed"
    UNLINKED = "unlinked"

    def why_not(self, kind: TransactionKind) -> str | None:
        """Why no money may move over the account in a payment of this kind, or None.

        A stop of debits leaves withdrawals alone: nobody has to agree to being paid.
        """
        if self is BankAccountStatus.DEBITS_STOPPED and kind is TransactionKind.WITHDRAWAL:
            return None
        return _WHY_NOT.get(self)

    def may_become(self, target: "BankAccountStatus") -> bool:
        """Whether the link may go from here to `target`. The database has the same guard."""
        return target in LEGAL_MOVES[self]


_WHY_NOT: Final[Mapping[BankAccountStatus, str]] = MappingProxyType(
    {
        BankAccountStatus.PENDING_VERIFICATION: "The bank account is not verified yet.",
        BankAccountStatus.DEBITS_STOPPED: "Debits of the bank account were stopped; its holder may link it again.",
        BankAccountStatus.RELINK_REQUIRED: "The bank account has to be linked again.",
        BankAccountStatus.VERIFICATION_FAILED: "The bank account could not be verified.",
        BankAccountStatus.UNLINKED: "The bank account was unlinked.",
    }
)

_PENDING, _ACTIVE = BankAccountStatus.PENDING_VERIFICATION, BankAccountStatus.ACTIVE
_STOPPED, _RELINK = BankAccountStatus.DEBITS_STOPPED, BankAccountStatus.RELINK_REQUIRED
_FAILED, _UNLINKED = BankAccountStatus.VERIFICATION_FAILED, BankAccountStatus.UNLINKED

LEGAL_MOVES: Final[Mapping[BankAccountStatus, frozenset[BankAccountStatus]]] = MappingProxyType(
    {
        _PENDING: frozenset({_ACTIVE, _FAILED, _UNLINKED}),
        _ACTIVE: frozenset({_STOPPED, _RELINK, _UNLINKED}),
        _STOPPED: frozenset({_ACTIVE, _RELINK, _UNLINKED}),
        _RELINK: frozenset({_ACTIVE, _UNLINKED}),
        _FAILED: frozenset({_UNLINKED}),
        _UNLINKED: frozenset(),
    }
)

RELINKABLE: Final = frozenset({_ACTIVE, _STOPPED, _RELINK})
"""What a new token of the same account at the bank makes active again."""

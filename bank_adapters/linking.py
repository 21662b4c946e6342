"""Linking by account and routing number: what a bank can do beside links that its own pages approve."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNumbers:
    """A user's account at any bank, as its holder gives it. The number is a secret: it is handed on and not kept."""

    routing_number: str
    account_number: str = field(repr=False)
    holder_name: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroDeposits:
    """Two small amounts on their way to the account, which only its holder will see; and the secret that opens it.

    The bank takes both back together with sending them, so that they sum to zero on our settlement account.
    """

    account_token: str = field(repr=False)
    mask: str
    amounts: tuple[Money, Money] = field(repr=False)


@runtime_checkable
class MicroDepositBank(Protocol):
    """A bank adapter that can link by number, too."""

    async def send_micro_deposits(self, reference: str, user_reference: str, account: AccountNumbers) -> MicroDeposits:
        """Send two small amounts, once for each reference: the same ones for whoever asks again.

        Raises BankRefusedLink where there is no such account, BankUnavailable or BankUnknown.
        """
        ...

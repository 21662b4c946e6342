"""Our references at banks, read back: `{transaction}:{kind}`, and the rail after it where it was not the first."""

from domain.errors import InvalidId
from domain.ids import TransactionId
from ledger.service import LedgerService, Transaction


async def payment_behind(ledger: LedgerService, bank: str, reference: str) -> Transaction | None:
    """The payment that we sent to this bank under this reference, if it is one of ours. Raises LedgerUnavailable."""
    name, _, rest = reference.partition(":")
    try:
        payment = await ledger.transaction(TransactionId.parse(name))
    except InvalidId:
        return None
    ours = payment is not None and (payment.bank, payment.kind) == (bank, rest.partition(":")[0])
    return payment if ours else None

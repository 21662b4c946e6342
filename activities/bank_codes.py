"""What a network's reason code means for the bank account that it came from."""

from domain.ids import BankAccountId
from domain.returns import RETURN_CODES, Remedy, return_code
from ledger.bank_accounts import BankAccounts


async def follow_return_code(
    accounts: BankAccounts, bank_account_id: BankAccountId, code: str, by: str, reason: str
) -> None:
    """A settled payment came back with this code: stop what it forbids. Raises LedgerUnavailable."""
    match return_code(code).remedy:
        case Remedy.RELINK:
            await accounts.require_relink(bank_account_id, by, reason)
        case Remedy.STOP_DEBITS | Remedy.ASK_A_PERSON | Remedy.NEW_CONSENT:
            await accounts.stop_debits(bank_account_id, by, reason)
        case Remedy.PRESENT_AGAIN | Remedy.CORRECT | Remedy.NOTHING:
            pass


async def follow_refusal_code(
    accounts: BankAccounts, bank_account_id: BankAccountId, code: str, by: str, reason: str
) -> None:
    """A payment was refused with this code. One that no network has is the bank's own and says nothing of the account.

    Raises LedgerUnavailable.
    """
    if code in RETURN_CODES:
        await follow_return_code(accounts, bank_account_id, code, by, reason)

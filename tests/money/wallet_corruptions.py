"""Ways to spoil what the books say of wallets' rules; in the form of `tests.money.corruptions`."""

from typing import Final

from tests.money.corruptions import Corruption

_ITS_WALLET: Final = "account_id = (SELECT source_wallet_id FROM ledger.transactions WHERE transaction_id = {held})"
WALLET_CORRUPTIONS: Final = (
    Corruption(
        "a wallet was thawed and nobody did it",
        """UPDATE ledger.accounts SET status = 'active', debits_frozen = false
        WHERE account_id IN (SELECT account_id FROM ledger.account_changes WHERE kind = 'freeze')""",
        frozenset({"wallet rules"}),
    ),
    Corruption(
        "a limit was lifted and nobody did it",
        "UPDATE ledger.accounts SET limit_daily = NULL WHERE limit_daily IS NOT NULL",
        frozenset({"wallet rules"}),
    ),
    Corruption(
        "a change of rules is lost", "DELETE FROM ledger.account_changes WHERE number = 1", frozenset({"wallet rules"})
    ),
    Corruption(
        "less counts as spent than has left",
        f"UPDATE ledger.accounts SET spent = spent - 1 WHERE {_ITS_WALLET}",
        frozenset({"spent"}),
    ),
    Corruption(
        "a day's spending is forgotten",
        f"UPDATE ledger.accounts SET spent = 0, spent_on = NULL WHERE {_ITS_WALLET}",
        frozenset({"spent"}),
    ),
    Corruption(
        "a debt is forgiven and nobody did it",
        "UPDATE ledger.accounts SET owed = 0 WHERE owed > 0",
        frozenset({"debts"}),
    ),
    Corruption(
        "a debt is another wallet's",
        """UPDATE ledger.transactions SET destination_wallet_id = source_wallet_id
        WHERE transaction_id = {collecting transfer}""",
        frozenset({"postings as ruled"}),
    ),
    Corruption(
        "changes of rules may be removed",
        "ALTER TABLE ledger.account_changes DISABLE TRIGGER immutable",
        frozenset({"triggers"}),
    ),
    Corruption(
        "a closed wallet may be opened", "DROP TRIGGER closed_for_ever ON ledger.accounts", frozenset({"triggers"})
    ),
    Corruption(
        "a closed wallet may have money",
        "ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_closed",
        frozenset({"constraints"}),
    ),
    Corruption(
        "what waits of a deposit is let go before its time",
        """UPDATE ledger.accounts a SET held = a.held - h.amount FROM ledger.holds h
        WHERE h.account_id = a.account_id AND h.transaction_id = {waiting deposit};
        UPDATE ledger.holds SET status = 'released', ended_at = now() WHERE transaction_id = {waiting deposit}""",
        frozenset({"deferred deposits"}),
    ),
    Corruption(
        "less waits of a deposit than its credit said",
        """UPDATE ledger.accounts a SET held = a.held - 1 FROM ledger.holds h
        WHERE h.account_id = a.account_id AND h.transaction_id = {waiting deposit};
        UPDATE ledger.holds SET amount = amount - 1 WHERE transaction_id = {waiting deposit}""",
        frozenset({"deferred deposits"}),
    ),
    Corruption(
        "a deposit came back, and what waited of it was released",
        "UPDATE ledger.holds SET status = 'released', captured = 0 WHERE transaction_id = {forfeited deposit}",
        frozenset({"deferred deposits"}),
    ),
    Corruption(
        "the application may rewrite reasons",
        "GRANT UPDATE (reason) ON ledger.account_changes TO sagapay_app",
        frozenset({"grants"}),
    ),
)

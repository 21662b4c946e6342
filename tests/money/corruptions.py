"""Ways to spoil the books of `tests.money.books`, each with the invariants it must break and no other.

In the SQL, {name} is the id of the payment or hold of that name.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Corruption:
    """Statements that a superuser could run with all triggers off, and the names of what verify then finds."""

    what: str
    sql: str
    breaks: frozenset[str]


def breaking(what: str, sql: str, *breaks: str) -> Corruption:
    """A way to spoil the books, and what hears of it."""
    return Corruption(what, sql, frozenset(breaks))


_LAST_LINE: Final = "transaction_id = {last transfer} AND type = 'CREDIT'"
_ITS_ACCOUNT: Final = f"account_id = (SELECT account_id FROM ledger.ledger_entries WHERE {_LAST_LINE})"
_ITS_EVENT: Final = (
    "data->>'entry_id' = 'ent_' || replace((SELECT entry_id FROM ledger.ledger_entries "
    f"WHERE {_LAST_LINE})::text, '-', '')"
)
_ONE_PARTITION: Final = (
    "(SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'ledger.ledger_entries'::regclass)"
)


def _told(field: str) -> str:
    # The event of the last line says one more too: a thief who covers tracks.
    return (
        "UPDATE ledger.outbox SET "
        f"data = (data::jsonb || jsonb_build_object('{field}', (data->>'{field}')::bigint + 1))::json "
        f"WHERE {_ITS_EVENT};"
    )


_MONEY: Final = (
    breaking(
        "a cent is made and every trace of it adapted",
        f"""{_told("amount")} {_told("balance_after")}
        UPDATE ledger.accounts SET balance = balance + 1 WHERE {_ITS_ACCOUNT};
        UPDATE ledger.ledger_entries SET amount = amount + 1, balance_after = balance_after + 1 WHERE {_LAST_LINE}""",
        "postings sum to zero",
        "shard sum",
        "postings as ruled",
    ),
    breaking(
        "a cent is made on an account",
        f"UPDATE ledger.accounts SET balance = balance + 1 WHERE {_ITS_ACCOUNT}",
        "balances",
        "shard sum",
    ),
    breaking(
        "a transfer went to another wallet than it says",
        """UPDATE ledger.transactions SET destination_wallet_id = source_wallet_id
        WHERE transaction_id = {transfer}""",
        "postings as ruled",
    ),
    breaking(
        "an entry is lost",
        f"DELETE FROM ledger.ledger_entries WHERE {_LAST_LINE}",
        "postings sum to zero",
        "shard sum",
        "postings as ruled",
        "balances",
        "entry events",
    ),
    breaking(
        "a posting is lost",
        "DELETE FROM ledger.postings WHERE transaction_id = {transfer}",
        "postings as ruled",
        "steps have postings",
    ),
    breaking(
        "an account counts one entry too many",
        f"UPDATE ledger.accounts SET version = version + 1 WHERE {_ITS_ACCOUNT}",
        "balances",
    ),
    breaking(
        "a version is left out",
        f"{_told('version')} UPDATE ledger.ledger_entries SET version = version + 1 WHERE {_LAST_LINE}",
        "statements",
    ),
    breaking(
        "a running balance is off",
        f"""{_told("balance_after")}
        UPDATE ledger.ledger_entries SET balance_after = balance_after + 1 WHERE {_LAST_LINE}""",
        "statements",
    ),
    breaking(
        "time ran backwards",
        """UPDATE ledger.ledger_entries SET created_at = '2020-01-01' WHERE transaction_id = {last transfer};
        UPDATE ledger.postings SET created_at = '2020-01-01' WHERE transaction_id = {last transfer};
        UPDATE ledger.transaction_steps SET created_at = '2020-01-01' WHERE transaction_id = {last transfer};
        UPDATE ledger.transaction_events SET created_at = '2020-01-01' WHERE transaction_id = {last transfer};
        UPDATE ledger.transactions SET created_at = '2020-01-01', completed_at = '2020-01-01'
        WHERE transaction_id = {last transfer}""",
        "statements",
    ),
    breaking(
        "one shard owes another",
        """INSERT INTO ledger.accounts (account_id, kind, code, currency, balance) VALUES
        (gen_random_uuid(), 'due_to', 'due_to:1:USD:0', 'USD', 1),
        (gen_random_uuid(), 'due_from', 'due_from:1:USD:0', 'USD', 1)""",
        "dues",
        "balances",
    ),
    breaking(
        "clearing keeps what is not in flight",
        "UPDATE ledger.transactions SET bank = 'other' WHERE transaction_id = {credited deposit}",
        "clearing",
        "postings as ruled",
    ),
    breaking(
        "a settlement is with another bank",
        "UPDATE ledger.transactions SET bank = 'other' WHERE transaction_id = {withdrawal}",
        "settled payments",
        "postings as ruled",
    ),
)

_GUARDS: Final = (
    breaking(
        "a wallet may go below zero",
        f"UPDATE ledger.accounts SET floor = -1 WHERE {_ITS_ACCOUNT}",
        "floors",
    ),
    breaking(
        "more is held than is there",
        f"""ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_floor;
        UPDATE ledger.accounts SET held = balance + 1 WHERE {_ITS_ACCOUNT}""",
        "constraints",
        "floors",
        "held amounts",
    ),
    breaking(
        "a step may have two outcomes",
        "ALTER TABLE ledger.transaction_steps DROP CONSTRAINT transaction_steps_pkey",
        "constraints",
    ),
    breaking("the application may change entries", "GRANT UPDATE ON ledger.ledger_entries TO sagapay_app", "grants"),
    breaking("the application may lower a floor", "GRANT UPDATE (floor) ON ledger.accounts TO sagapay_app", "grants"),
    breaking("the application may remove steps", "GRANT DELETE ON ledger.transaction_steps TO sagapay_app", "grants"),
    breaking("the application may make tables", "GRANT CREATE ON SCHEMA ledger TO sagapay_app", "grants"),
    breaking(
        "entries may be inserted past the trigger of their parent",
        f"DO $$ BEGIN EXECUTE 'GRANT INSERT ON ' || {_ONE_PARTITION} || ' TO sagapay_app'; END $$",
        "grants",
    ),
    breaking(
        "the sum is not checked",
        "ALTER TABLE ledger.ledger_entries DISABLE TRIGGER entries_sum_to_zero",
        "triggers",
    ),
    breaking(
        "one month's entries can be changed",
        f"DO $$ BEGIN EXECUTE 'ALTER TABLE ' || {_ONE_PARTITION} || ' DISABLE TRIGGER immutable'; END $$",
        "triggers",
    ),
    breaking("a status may move anywhere", "DROP TRIGGER legal_status_move ON ledger.transactions", "triggers"),
)

_PAYMENTS: Final = (
    breaking(
        "a payment has no key",
        "DELETE FROM ledger.idempotency_keys WHERE transaction_id = {refused transfer}",
        "idempotency keys",
    ),
    breaking(
        "a key stands for nothing",
        """INSERT INTO ledger.idempotency_keys
        VALUES (decode('00112233445566778899aabbccddeeff', 'hex'), sha256('x'), gen_random_uuid())""",
        "idempotency keys",
    ),
    breaking(
        "one key paid twice",
        """UPDATE ledger.transactions SET workflow_id = (
            SELECT workflow_id FROM ledger.transactions WHERE transaction_id = {transfer})
        WHERE transaction_id = {last transfer}""",
        "idempotency keys",
    ),
    breaking(
        "a step of another kind of payment",
        "UPDATE ledger.transactions SET kind = 'deposit' WHERE transaction_id = {refused transfer}",
        "steps in order",
    ),
    breaking(
        "a step before its time",
        """UPDATE ledger.transaction_steps SET step = 'settle_withdrawal'
        WHERE transaction_id = {released} AND step = 'release_withdrawal';
        UPDATE ledger.transaction_events SET step = 'settle_withdrawal'
        WHERE transaction_id = {released} AND step = 'release_withdrawal'""",
        "steps in order",
        "steps have postings",
        "statuses",
        "settled payments",
        "holds",
    ),
    breaking(
        "a step forgot its posting",
        "UPDATE ledger.transaction_steps SET posting_id = NULL WHERE transaction_id = {transfer}",
        "steps have postings",
        "postings as ruled",
    ),
    breaking(
        "the timeline is silent", "DELETE FROM ledger.transaction_events WHERE transaction_id = {held}", "timelines"
    ),
    breaking(
        "a payment failed and yet moved money",
        """UPDATE ledger.transactions SET status = 'failed', failure_code = 'cancelled'
        WHERE transaction_id = {transfer}""",
        "failures moved nothing",
        "statuses",
        "payment events",
    ),
    breaking(
        "a payment ended before its last step",
        """UPDATE ledger.transactions SET completed_at = completed_at - interval '1 microsecond'
        WHERE transaction_id = {transfer}""",
        "statuses",
    ),
    breaking(
        "a finished payment is open again",
        """UPDATE ledger.transactions SET status = 'processing', completed_at = NULL
        WHERE transaction_id = {transfer}""",
        "statuses",
        "payment events",
    ),
    breaking(
        "a refusal says another reason than its step",
        "UPDATE ledger.transactions SET failure_code = 'cancelled' WHERE transaction_id = {refused transfer}",
        "statuses",
    ),
)

_BATCHES: Final = (
    breaking("a batch lost a transfer", "DELETE FROM ledger.transfer_batch_items WHERE item_index = 1", "batches"),
    breaking(
        "a batch says another amount than was paid",
        "UPDATE ledger.transfer_batch_items SET amount = amount + 1 WHERE item_index = 0",
        "batches",
    ),
    breaking(
        "a batch says that what was refused is paid",
        """UPDATE ledger.transfer_batch_items SET status = 'succeeded', failure_code = NULL
        WHERE status = 'failed'""",
        "batches",
    ),
    breaking(
        "a batch ended before its last transfer",
        "UPDATE ledger.transfer_batch_items SET status = 'processing' WHERE item_index = 2",
        "batches",
    ),
    breaking(
        "a batch has no key",
        """DELETE FROM ledger.idempotency_keys
        WHERE transaction_id IN (SELECT batch_id FROM ledger.transfer_batches)""",
        "idempotency keys",
    ),
    breaking(
        "a paid transfer of a batch may change",
        "ALTER TABLE ledger.transfer_batch_items DISABLE TRIGGER batch_item_ends_once",
        "triggers",
    ),
)

_EVENTS_AND_HOLDS: Final = (
    breaking(
        "a payment's end is not told",
        "DELETE FROM ledger.outbox WHERE key = 'txn_' || replace({transfer}, '-', '')",
        "payment events",
    ),
    breaking(
        "a payment's end is told twice",
        """INSERT INTO ledger.outbox (lane, event_id, topic, key, type, data)
        SELECT lane, event_id, topic, key, type, data FROM ledger.outbox
        WHERE key = 'txn_' || replace({transfer}, '-', '')""",
        "payment events",
    ),
    breaking("an entry is not told", f"DELETE FROM ledger.outbox WHERE {_ITS_EVENT}", "entry events"),
    breaking("an entry is told with another amount", _told("amount"), "entry events"),
    breaking(
        "a cent is held for nobody",
        f"UPDATE ledger.accounts SET held = held + 1 WHERE {_ITS_ACCOUNT}",
        "held amounts",
    ),
    breaking(
        "a hold was let go while its payment is open",
        """UPDATE ledger.accounts a SET held = a.held - h.amount FROM ledger.holds h
        WHERE h.account_id = a.account_id AND h.transaction_id = {held};
        UPDATE ledger.holds SET status = 'released', ended_at = now() WHERE transaction_id = {held}""",
        "holds",
    ),
    breaking(
        "a hold outlives its payment",
        """UPDATE ledger.accounts a SET held = a.held + h.amount FROM ledger.holds h
        WHERE h.account_id = a.account_id AND h.transaction_id = {released};
        UPDATE ledger.holds SET status = 'active', ended_at = NULL WHERE transaction_id = {released}""",
        "holds",
    ),
    breaking(
        "less is held than the payment takes",
        """UPDATE ledger.accounts a SET held = a.held - 1 FROM ledger.holds h
        WHERE h.account_id = a.account_id AND h.transaction_id = {held};
        UPDATE ledger.holds SET amount = amount - 1 WHERE transaction_id = {held}""",
        "holds",
    ),
)

_CLIENT_HOLDS: Final = (
    breaking(
        "a hold says that more was captured than its captures took",
        """UPDATE ledger.accounts a SET held = a.held - 1 FROM ledger.holds h
        WHERE h.account_id = a.account_id AND h.hold_id = {partly captured hold};
        UPDATE ledger.holds SET captured = captured + 1 WHERE hold_id = {partly captured hold}""",
        "captures",
    ),
    breaking(
        "a hold ended and still holds",
        "UPDATE ledger.holds SET status = 'active', ended_at = NULL WHERE hold_id = {released hold}",
        "held amounts",
        "spent",
        "hold events",
    ),
    breaking(
        "a hold ended before its last capture",
        "UPDATE ledger.holds SET ended_at = ended_at - interval '1 microsecond' WHERE hold_id = {captured hold}",
        "captures",
    ),
    breaking(
        "a capture took from no hold",
        "UPDATE ledger.transactions SET hold_id = gen_random_uuid() WHERE transaction_id = {capture}",
        "captures",
        "hold events",
    ),
    breaking(
        "a capture forgot its hold",
        "UPDATE ledger.transactions SET hold_id = NULL WHERE transaction_id = {capture}",
        "captures",
        "hold events",
        "steps in order",
    ),
    breaking(
        "a transfer that is no capture names a hold",
        "UPDATE ledger.transactions SET hold_id = {failed hold} WHERE transaction_id = {refused transfer}",
        "captures",
    ),
    breaking(
        "a hold has no key",
        "DELETE FROM ledger.idempotency_keys WHERE transaction_id = {expired hold}",
        "idempotency keys",
    ),
    breaking(
        "an expiry is not told",
        "DELETE FROM ledger.outbox WHERE key = 'hld_' || replace({expired hold}, '-', '') AND type = 'hold.expired'",
        "hold events",
    ),
    breaking(
        "a capture is told twice",
        """INSERT INTO ledger.outbox (lane, event_id, topic, key, type, data)
        SELECT lane, event_id, topic, key, type, data FROM ledger.outbox
        WHERE key = 'hld_' || replace({captured hold}, '-', '') AND type = 'hold.captured'""",
        "hold events",
    ),
    breaking(
        "a payment's own hold may expire",
        "ALTER TABLE ledger.holds DROP CONSTRAINT holds_of_sagas_stay",
        "constraints",
    ),
    breaking("a hold may end twice", "ALTER TABLE ledger.holds DISABLE TRIGGER hold_ends_once", "triggers"),
)

CORRUPTIONS: Final = _MONEY + _GUARDS + _PAYMENTS + _BATCHES + _EVENTS_AND_HOLDS + _CLIENT_HOLDS

"""The SQL of a posting: few statements, set-based, each with the reason for its order.

Locks are always taken in this order, each set sorted: transactions, clients' holds, accounts, idempotency keys. No
cycle is possible. A saga's hold is covered by the lock on its transaction.
Our own accounts are opened without holding any of them.

What the writer sends is written for the driver (`%(name)s`), because it goes out in pipelines.
"""

from functools import cache
from typing import Final

from sqlalchemy import text

TRANSACTION_COLUMNS: Final = """transaction_id, kind, status, client_id, amount, currency, source_wallet_id,
    destination_wallet_id, bank_account_id, bank, memo, failure_code, failure_detail, attention, workflow_id,
    effective_at, created_at, completed_at, hold_id, rails, trace"""

HOLD_COLUMNS: Final = """hold_id, client_id, account_id, amount, currency, captured, status, memo, failure_code,
    failure_detail, effective_at, expires_at, created_at, ended_at"""

# -- a group, in the order in which it is sent --------------------------------------------------------

LOCK_TRANSACTIONS: Final = f"""
    SELECT {TRANSACTION_COLUMNS} FROM ledger.transactions
    WHERE transaction_id = ANY(%(transaction_ids)s::uuid[]) ORDER BY transaction_id FOR NO KEY UPDATE
"""  # noqa: S608

# Read after the lock, in a statement of its own: an earlier snapshot would not see what the last holder wrote.
STEPS_TAKEN: Final = """
    SELECT transaction_id, step, outcome, refusal_code, refusal_detail
    FROM ledger.transaction_steps WHERE transaction_id = ANY(%(transaction_ids)s::uuid[])
"""

# What waits of deposits. Read after the lock as well, which covers it.
DEFERRED: Final = """
    SELECT transaction_id, amount, available_at FROM ledger.holds
    WHERE transaction_id = ANY(%(transaction_ids)s::uuid[]) AND available_at IS NOT NULL AND status = 'active'
"""

# Clients' holds alone: a saga's are locked with its transaction, and written after its accounts.
LOCK_HOLDS: Final = f"""
    SELECT {HOLD_COLUMNS} FROM ledger.holds
    WHERE hold_id = ANY(%(hold_ids)s::uuid[]) AND client_id IS NOT NULL ORDER BY hold_id FOR NO KEY UPDATE
"""  # noqa: S608

LOCK_ACCOUNTS: Final = """
    SELECT encode(uuid_send(account_id), 'hex') AS account_id, kind, currency, balance, held, floor, version, status,
           updated_at, debits_frozen, credits_frozen, limit_per_transaction, limit_daily, spent_on, spent, owed
    FROM ledger.accounts WHERE account_id = ANY(%(account_ids)s::uuid[]) ORDER BY accounts.account_id FOR NO KEY UPDATE
"""

# Waits for another session that is inserting the same key; then the key is not returned, and is theirs.
CLAIM_KEYS: Final = """
    INSERT INTO ledger.idempotency_keys (key_digest, fingerprint, transaction_id)
    SELECT decode(key_digest, 'hex'), decode(fingerprint, 'hex'), transaction_id
    FROM unnest(%(key_digests)s::text[], %(fingerprints)s::text[], %(transaction_ids)s::uuid[])
         AS k(key_digest, fingerprint, transaction_id)
    ON CONFLICT DO NOTHING
    RETURNING encode(key_digest, 'hex') AS key_digest
"""

# After the locks, so that what happens under them is not dated before what happened under them last.
DATABASE_TIME: Final = "SELECT clock_timestamp() AS now"

# What was recorded under keys that are not ours: each payment has taken exactly one of the steps that have a key.
RECORDED_UNDER: Final = """
    SELECT encode(k.key_digest, 'hex') AS key_digest, encode(k.fingerprint, 'hex') AS fingerprint, k.transaction_id,
           t.status, t.failure_code, t.failure_detail, s.step, s.outcome, s.refusal_code, s.refusal_detail
    FROM unnest(%(key_digests)s::text[]) AS wanted(key_digest)
    JOIN ledger.idempotency_keys k ON k.key_digest = decode(wanted.key_digest, 'hex')
    LEFT JOIN ledger.transactions t ON t.transaction_id = k.transaction_id
    LEFT JOIN ledger.transaction_steps s
        ON s.transaction_id = k.transaction_id AND s.step = ANY(%(keyed_steps)s::text[])
"""

# The parts of the statement that writes a group. All entries of a posting have to be inserted together, because the
# sum-to-zero trigger looks at a statement's rows.
_PARTS: Final = {
    "transactions": """
        INSERT INTO ledger.transactions
            (transaction_id, kind, status, client_id, amount, currency, source_wallet_id, destination_wallet_id,
             bank_account_id, bank, memo, failure_code, failure_detail, workflow_id, effective_at, created_at,
             completed_at, hold_id, rails, trace)
        SELECT * FROM jsonb_to_recordset(%(transactions)s::jsonb) AS t(
             transaction_id uuid, kind text, status text, client_id uuid, amount bigint, currency text,
             source_wallet_id uuid, destination_wallet_id uuid, bank_account_id uuid, bank text, memo text,
             failure_code text, failure_detail text, workflow_id text, effective_at timestamptz,
             created_at timestamptz, completed_at timestamptz, hold_id uuid, rails text,
             trace text)""",
    "moves": """
        UPDATE ledger.transactions t
        SET status = m.status, failure_code = m.failure_code, failure_detail = m.failure_detail,
            completed_at = m.completed_at, attention = NULL
        FROM jsonb_to_recordset(%(moves)s::jsonb) AS m(
             transaction_id uuid, status text, failure_code text, failure_detail text, completed_at timestamptz)
        WHERE t.transaction_id = m.transaction_id""",
    "entries": """
        INSERT INTO ledger.ledger_entries
            (entry_id, posting_id, transaction_id, account_id, type, amount, currency, balance_after, version,
             created_at)
        SELECT * FROM jsonb_to_recordset(%(entries)s::jsonb) AS e(
             entry_id uuid, posting_id uuid, transaction_id uuid, account_id uuid, type text, amount bigint,
             currency text, balance_after bigint, version bigint, created_at timestamptz)""",
    "accounts": """
        UPDATE ledger.accounts a
        SET balance = n.balance, held = n.held, version = n.version, updated_at = n.updated_at,
            spent_on = n.spent_on, spent = n.spent, owed = coalesce(n.owed, a.owed)
        FROM jsonb_to_recordset(%(accounts)s::jsonb) AS n(
             account_id uuid, balance bigint, held bigint, version bigint, updated_at timestamptz, spent_on date,
             spent bigint, owed bigint)
        WHERE a.account_id = n.account_id""",
    "placed_holds": """
        INSERT INTO ledger.holds
            (hold_id, transaction_id, client_id, account_id, amount, currency, status, memo, failure_code,
             failure_detail, effective_at, expires_at, available_at, created_at, ended_at)
        SELECT * FROM jsonb_to_recordset(%(placed_holds)s::jsonb) AS h(
             hold_id uuid, transaction_id uuid, client_id uuid, account_id uuid, amount bigint, currency text,
             status text, memo text, failure_code text, failure_detail text, effective_at timestamptz,
             expires_at timestamptz, available_at timestamptz, created_at timestamptz, ended_at timestamptz)""",
    "ended_holds": """
        UPDATE ledger.holds h
        SET status = n.status, captured = n.captured, ended_at = n.ended_at
        FROM jsonb_to_recordset(%(ended_holds)s::jsonb) AS n(
             transaction_id uuid, status text, captured bigint, ended_at timestamptz)
        WHERE h.transaction_id = n.transaction_id""",
    "moved_holds": """
        UPDATE ledger.holds h
        SET status = n.status, captured = n.captured, ended_at = n.ended_at
        FROM jsonb_to_recordset(%(moved_holds)s::jsonb) AS n(
             hold_id uuid, status text, captured bigint, ended_at timestamptz)
        WHERE h.hold_id = n.hold_id""",
    "events": """
        INSERT INTO ledger.outbox (lane, event_id, topic, key, type, trace, data)
        SELECT lane, event_id, topic, key, type, trace, data::json
        FROM unnest(%(lanes)s::smallint[], %(event_ids)s::uuid[], %(topics)s::text[], %(keys)s::text[],
                    %(types)s::text[], %(traces)s::text[], %(data)b::text[])
             AS o(lane, event_id, topic, key, type, trace, data)""",
}
PARTS: Final = tuple(_PARTS)

_STEPS: Final = """
    step AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(%(steps)s::jsonb) AS s(
             transaction_id uuid, step text, outcome text, refusal_code text, refusal_detail text, posting_id uuid,
             event_id uuid, detail jsonb, effective_at timestamptz, created_at timestamptz)
    ), posting AS (
        INSERT INTO ledger.postings (posting_id, transaction_id, step, effective_at, created_at)
        SELECT posting_id, transaction_id, step, effective_at, created_at FROM step WHERE posting_id IS NOT NULL
    ), timeline AS (
        INSERT INTO ledger.transaction_events
            (transaction_id, event_id, type, step, detail, effective_at, created_at)
        SELECT transaction_id, event_id, 'step.' || outcome, step, detail, effective_at, created_at FROM step
    )"""


@cache
def write_group(parts: tuple[str, ...]) -> str:
    """Everything that a group's steps mean, in one statement. `parts` (of PARTS) are those that have rows."""
    others = "".join(f", {part}_part AS ({_PARTS[part]})" for part in parts)
    return f"""WITH {_STEPS}{others}
    INSERT INTO ledger.transaction_steps
        (transaction_id, step, outcome, refusal_code, refusal_detail, posting_id, created_at)
    SELECT transaction_id, step, outcome, refusal_code, refusal_detail, posting_id, created_at FROM step
    """  # noqa: S608


OPEN_SYSTEM_ACCOUNTS: Final = text("""
    INSERT INTO ledger.accounts (account_id, kind, code, currency)
    SELECT account_id, kind, code, currency
    FROM jsonb_to_recordset(CAST(:accounts AS jsonb)) AS a(account_id uuid, kind text, code text, currency text)
    ORDER BY account_id
    ON CONFLICT DO NOTHING
""")

# -- beside the postings ---------------------------------------------------------------------------------

FIND_KEY: Final = text("""
    SELECT transaction_id, encode(fingerprint, 'hex') AS fingerprint
    FROM ledger.idempotency_keys WHERE key_digest = :key_digest
""")

LOCK_TRANSACTION: Final = text(f"""
    SELECT {TRANSACTION_COLUMNS} FROM ledger.transactions WHERE transaction_id = :transaction_id FOR NO KEY UPDATE
""")  # noqa: S608

ADD_TIMELINE: Final = text("""
    INSERT INTO ledger.transaction_events (transaction_id, event_id, type, step, detail, effective_at, created_at)
    VALUES (:transaction_id, :event_id, :type, :step, CAST(:detail AS jsonb), :effective_at, clock_timestamp())
""")

SET_ATTENTION: Final = text("""
    UPDATE ledger.transactions SET attention = CAST(:attention AS jsonb) WHERE transaction_id = :transaction_id
""")

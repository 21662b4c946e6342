"""The SQL of a posting: few statements, set-based, each with the reason for its order.

Locks are always taken in this order, each set sorted: idempotency key, transaction, accounts. No cycle is possible.
Our own accounts are opened without holding any of them.
"""

from typing import Final

from sqlalchemy import text

# Waits for another session that is inserting the same key; then the key is not returned, and is theirs.
CLAIM_KEY: Final = text("""
    INSERT INTO ledger.idempotency_keys (key_digest, fingerprint, transaction_id)
    VALUES (:key_digest, :fingerprint, :transaction_id)
    ON CONFLICT (key_digest) DO NOTHING
    RETURNING transaction_id
""")

FIND_KEY: Final = text("""
    SELECT transaction_id, encode(fingerprint, 'hex') AS fingerprint
    FROM ledger.idempotency_keys WHERE key_digest = :key_digest
""")

TRANSACTION_COLUMNS: Final = """transaction_id, kind, status, client_id, amount, currency, source_wallet_id,
    destination_wallet_id, bank_account_id, bank, memo, failure_code, failure_detail, attention, workflow_id,
    effective_at, created_at, completed_at"""

LOCK_TRANSACTION: Final = text(f"""
    SELECT {TRANSACTION_COLUMNS} FROM ledger.transactions WHERE transaction_id = :transaction_id FOR NO KEY UPDATE
""")  # noqa: S608

# Read after the lock, in a statement of its own: an earlier snapshot would not see what the last holder wrote.
STEPS_TAKEN: Final = text("""
    SELECT step, outcome, refusal_code, refusal_detail
    FROM ledger.transaction_steps WHERE transaction_id = :transaction_id
""")

LOCK_ACCOUNTS: Final = text("""
    SELECT account_id, kind, currency, balance, held, floor, version, status, updated_at,
           clock_timestamp() AS locked_at
    FROM ledger.accounts WHERE account_id = ANY(:account_ids) ORDER BY account_id FOR NO KEY UPDATE
""")

OPEN_SYSTEM_ACCOUNTS: Final = text("""
    INSERT INTO ledger.accounts (account_id, kind, code, currency)
    SELECT account_id, kind, code, currency
    FROM jsonb_to_recordset(CAST(:accounts AS jsonb)) AS a(account_id uuid, kind text, code text, currency text)
    ORDER BY account_id
    ON CONFLICT DO NOTHING
""")

DATABASE_TIME: Final = text("SELECT clock_timestamp() AS locked_at")

# Everything a step writes, in one statement and one round trip. All entries of a posting have to be inserted
# together, because the sum-to-zero trigger looks at a statement's rows.
WRITE_STEP: Final = text("""
    WITH work AS MATERIALIZED (SELECT CAST(:work AS jsonb) AS doc),
    new_transaction AS (
        INSERT INTO ledger.transactions
            (transaction_id, kind, status, client_id, amount, currency, source_wallet_id, destination_wallet_id,
             bank_account_id, bank, memo, failure_code, failure_detail, workflow_id, effective_at, created_at,
             completed_at)
        SELECT t.* FROM work, jsonb_to_recordset(doc->'new_transactions') AS t(
             transaction_id uuid, kind text, status text, client_id uuid, amount bigint, currency text,
             source_wallet_id uuid, destination_wallet_id uuid, bank_account_id uuid, bank text, memo text,
             failure_code text, failure_detail text, workflow_id text, effective_at timestamptz,
             created_at timestamptz, completed_at timestamptz)
    ), moved_transaction AS (
        UPDATE ledger.transactions t
        SET status = m.status, failure_code = m.failure_code, failure_detail = m.failure_detail,
            completed_at = m.completed_at, attention = NULL
        FROM work, jsonb_to_recordset(doc->'moved_transactions') AS m(
             transaction_id uuid, status text, failure_code text, failure_detail text, completed_at timestamptz)
        WHERE t.transaction_id = m.transaction_id
    ), step AS (
        INSERT INTO ledger.transaction_steps
            (transaction_id, step, outcome, refusal_code, refusal_detail, posting_id, created_at)
        SELECT s.* FROM work, jsonb_to_recordset(doc->'steps') AS s(
             transaction_id uuid, step text, outcome text, refusal_code text, refusal_detail text,
             posting_id uuid, created_at timestamptz)
    ), posting AS (
        INSERT INTO ledger.postings (posting_id, transaction_id, step, effective_at, created_at)
        SELECT p.* FROM work, jsonb_to_recordset(doc->'postings') AS p(
             posting_id uuid, transaction_id uuid, step text, effective_at timestamptz, created_at timestamptz)
    ), entry AS (
        INSERT INTO ledger.ledger_entries
            (entry_id, posting_id, transaction_id, account_id, type, amount, currency, balance_after, version,
             created_at)
        SELECT e.* FROM work, jsonb_to_recordset(doc->'entries') AS e(
             entry_id uuid, posting_id uuid, transaction_id uuid, account_id uuid, type text, amount bigint,
             currency text, balance_after bigint, version bigint, created_at timestamptz)
    ), account AS (
        UPDATE ledger.accounts a
        SET balance = n.balance, held = n.held, version = n.version, updated_at = n.updated_at
        FROM work, jsonb_to_recordset(doc->'accounts') AS n(
             account_id uuid, balance bigint, held bigint, version bigint, updated_at timestamptz)
        WHERE a.account_id = n.account_id
    ), placed AS (
        INSERT INTO ledger.holds (hold_id, transaction_id, account_id, amount, created_at)
        SELECT h.* FROM work, jsonb_to_recordset(doc->'new_holds') AS h(
             hold_id uuid, transaction_id uuid, account_id uuid, amount bigint, created_at timestamptz)
    ), ended AS (
        UPDATE ledger.holds h
        SET status = n.status, captured = n.captured, ended_at = n.ended_at
        FROM work, jsonb_to_recordset(doc->'ended_holds') AS n(
             transaction_id uuid, status text, captured bigint, ended_at timestamptz)
        WHERE h.transaction_id = n.transaction_id
    ), timeline AS (
        INSERT INTO ledger.transaction_events
            (transaction_id, event_id, type, step, detail, effective_at, created_at)
        SELECT v.* FROM work, jsonb_to_recordset(doc->'timeline') AS v(
             transaction_id uuid, event_id uuid, type text, step text, detail jsonb, effective_at timestamptz,
             created_at timestamptz)
    )
    INSERT INTO ledger.outbox (lane, event_id, topic, key, type, data)
    SELECT o.* FROM work, jsonb_to_recordset(doc->'outbox') AS o(
         lane smallint, event_id uuid, topic text, key text, type text, data jsonb)
""")

ADD_TIMELINE: Final = text("""
    INSERT INTO ledger.transaction_events (transaction_id, event_id, type, step, detail, effective_at, created_at)
    VALUES (:transaction_id, :event_id, :type, :step, CAST(:detail AS jsonb), :effective_at, clock_timestamp())
""")

SET_ATTENTION: Final = text("""
    UPDATE ledger.transactions SET attention = CAST(:attention AS jsonb) WHERE transaction_id = :transaction_id
""")

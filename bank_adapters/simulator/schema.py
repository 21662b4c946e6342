"""The tables of the bank's books. What code checks, the database checks again: this bank must not miscount either."""

from typing import Final

# Amounts are minor units, signed where a line can go both ways; times are microseconds since 1970 in UTC.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS accounts (
    account_id  TEXT PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('customer', 'settlement', 'vault')),
    holder_name TEXT NOT NULL,
    mask        TEXT NOT NULL,
    currency    TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('open', 'frozen', 'closed')),
    balance     INTEGER NOT NULL DEFAULT 0,
    held        INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    CHECK (kind <> 'customer' OR balance - held >= 0)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_house_account ON accounts (kind, currency) WHERE kind <> 'customer';

CREATE TABLE IF NOT EXISTS links (
    link_token     TEXT PRIMARY KEY,
    user_reference TEXT NOT NULL,
    expires_at     INTEGER NOT NULL,
    public_token   TEXT UNIQUE,
    account_id     TEXT REFERENCES accounts,
    account_token  TEXT UNIQUE
) STRICT;

CREATE TABLE IF NOT EXISTS payments (
    payment_id     TEXT PRIMARY KEY,
    reference      TEXT NOT NULL,
    direction      TEXT NOT NULL CHECK (direction IN ('pull', 'push')),
    account_token  TEXT NOT NULL,
    account_id     TEXT REFERENCES accounts,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT NOT NULL,
    memo           TEXT,
    rail           TEXT NOT NULL CHECK (rail IN ('instant', 'ach')),
    batch          TEXT,
    state          TEXT NOT NULL CHECK (state IN ('accepted', 'settled', 'refused', 'cancelled', 'returned')),
    refusal_code   TEXT,
    refusal_detail TEXT,
    retryable      INTEGER NOT NULL DEFAULT 0,
    rail_only      INTEGER NOT NULL DEFAULT 0,
    received_at    INTEGER NOT NULL,
    cancellable_until INTEGER,
    settles_at     INTEGER,
    settled_at     INTEGER,
    duplicate_of   TEXT REFERENCES payments,
    corrects_at    INTEGER,
    corrected_at   INTEGER,
    CHECK ((state = 'refused') = (refusal_code IS NOT NULL)),
    CHECK ((state IN ('settled', 'returned')) = (settled_at IS NOT NULL)),
    CHECK ((rail = 'ach') = (batch IS NOT NULL) OR state = 'refused'),
    CHECK (state = 'refused' OR account_id IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_payment_per_reference ON payments (reference) WHERE duplicate_of IS NULL;
CREATE INDEX IF NOT EXISTS payments_to_settle ON payments (settles_at) WHERE state = 'accepted';
CREATE INDEX IF NOT EXISTS duplicates ON payments (duplicate_of) WHERE duplicate_of IS NOT NULL;

CREATE TABLE IF NOT EXISTS returns (
    return_id   TEXT PRIMARY KEY,
    payment_id  TEXT REFERENCES payments,
    reference   TEXT NOT NULL,
    direction   TEXT NOT NULL CHECK (direction IN ('pull', 'push')),
    code        TEXT NOT NULL,
    detail      TEXT NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount > 0),
    currency    TEXT NOT NULL,
    returned_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS returns_of_payment ON returns (payment_id);

CREATE TABLE IF NOT EXISTS clock (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
    offset_micros INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS entries (
    entry_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    movement_id   TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('opening', 'payment', 'correction', 'return')),
    payment_id    TEXT REFERENCES payments,
    return_id     TEXT REFERENCES returns,
    account_id    TEXT NOT NULL REFERENCES accounts,
    amount        INTEGER NOT NULL CHECK (amount <> 0),
    balance_after INTEGER NOT NULL,
    booked_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS entries_of_account ON entries (account_id, entry_id);
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
CREATE TRIGGER IF NOT EXISTS entries_remain BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;

CREATE TABLE IF NOT EXISTS notices (
    notice_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id    TEXT NOT NULL UNIQUE,
    type        TEXT NOT NULL,
    payment_id  TEXT NOT NULL REFERENCES payments,
    reference   TEXT NOT NULL,
    account_id  TEXT,
    occurred_at INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    sent_at     INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS notices_to_send ON notices (due_at) WHERE sent_at IS NULL;
CREATE TRIGGER IF NOT EXISTS new_payments_are_told AFTER INSERT ON payments
    WHEN NEW.duplicate_of IS NULL AND NEW.state <> 'accepted' AND NEW.reference NOT LIKE 'micro:%'
    BEGIN
        INSERT INTO notices (event_id, type, payment_id, reference, account_id, occurred_at, due_at)
        VALUES ('evt_' || lower(hex(randomblob(12))), 'payment.' || NEW.state, NEW.payment_id, NEW.reference,
                NEW.account_id, NEW.received_at, NEW.received_at);
    END;
CREATE TRIGGER IF NOT EXISTS changed_payments_are_told AFTER UPDATE OF state ON payments
    WHEN NEW.duplicate_of IS NULL AND NEW.reference NOT LIKE 'micro:%'
    BEGIN
        INSERT INTO notices (event_id, type, payment_id, reference, account_id, occurred_at, due_at)
        VALUES ('evt_' || lower(hex(randomblob(12))), 'payment.' || NEW.state, NEW.payment_id, NEW.reference,
                NEW.account_id, coalesce(NEW.settled_at, NEW.received_at), coalesce(NEW.settled_at, NEW.received_at));
    END;

CREATE TABLE IF NOT EXISTS faults (
    fault_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT NOT NULL,
    operation     TEXT NOT NULL,
    account_id    TEXT REFERENCES accounts,
    code          TEXT,
    seconds       REAL,
    times_left    INTEGER CHECK (times_left >= 0),
    used          INTEGER NOT NULL DEFAULT 0,
    removed       INTEGER NOT NULL DEFAULT 0
) STRICT;
"""

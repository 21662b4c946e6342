-- The ledger: accounts, transactions, steps, postings, entries, holds, idempotency keys, outbox. One per shard.
-- Owned by the migration role. The application's role reads and inserts; what it may update is granted below.

CREATE SCHEMA ledger;

CREATE TABLE ledger.accounts (
    account_id uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('wallet', 'bank_settlement', 'clearing', 'due_to', 'due_from',
                                             'receivable', 'suspense', 'fees', 'losses')),
    code       text UNIQUE,
    user_id    uuid,
    client_id  uuid,
    currency   text NOT NULL CHECK (length(currency) = 3 AND currency = upper(currency)),
    balance    bigint NOT NULL DEFAULT 0,
    held       bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    floor      bigint,
    version    bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    status     text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'frozen', 'closed')),
    debits_frozen  boolean NOT NULL DEFAULT false,
    credits_frozen boolean NOT NULL DEFAULT false,
    limit_per_transaction bigint CHECK (limit_per_transaction > 0),
    limit_daily           bigint CHECK (limit_daily > 0),
    spent_on   date,
    spent      bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    owed       bigint NOT NULL DEFAULT 0 CHECK (owed >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT accounts_frozen CHECK ((status = 'frozen') = (debits_frozen OR credits_frozen)),
    CONSTRAINT accounts_closed CHECK (status <> 'closed' OR (balance = 0 AND held = 0)),
    CONSTRAINT accounts_floor CHECK (floor IS NULL OR balance - held >= floor),
    CONSTRAINT accounts_owner CHECK ((kind = 'wallet') = (user_id IS NOT NULL AND client_id IS NOT NULL)),
    CONSTRAINT accounts_owed CHECK (owed = 0 OR kind = 'wallet'),
    CONSTRAINT accounts_code CHECK ((kind = 'wallet') = (code IS NULL))
) WITH (fillfactor = 70);
COMMENT ON COLUMN ledger.accounts.balance IS
    'Minor units, positive on the normal side: wallets, due_to, fees and suspense are credit-normal, the rest debit-normal.';

COMMENT ON COLUMN ledger.accounts.spent IS
    'Minor units that left the wallet, or were held to leave it, on the banking day spent_on; what came back is taken off.';
COMMENT ON COLUMN ledger.accounts.owed IS
    'Minor units of returned deposits that a wallet did not have when they were taken back; later money pays them first.';

-- The rules of a wallet as each change left them, with who asked for it and why.
CREATE TABLE ledger.account_changes (
    account_id     uuid NOT NULL,
    number         integer NOT NULL CHECK (number > 0),
    kind           text NOT NULL CHECK (kind IN ('freeze', 'unfreeze', 'limit', 'close')),
    status         text NOT NULL,
    debits_frozen  boolean NOT NULL,
    credits_frozen boolean NOT NULL,
    limit_per_transaction bigint,
    limit_daily           bigint,
    changed_by     text NOT NULL,
    reason         text NOT NULL,
    key_digest     bytea CHECK (length(key_digest) = 16),
    fingerprint    bytea CHECK (length(fingerprint) = 32),
    effective_at   timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, number),
    UNIQUE (account_id, key_digest),
    CHECK ((key_digest IS NULL) = (fingerprint IS NULL))
);

CREATE TABLE ledger.transactions (
    transaction_id         uuid NOT NULL PRIMARY KEY,
    kind                   text NOT NULL CHECK (kind IN ('deposit', 'withdrawal', 'transfer')),
    status                 text NOT NULL CHECK (status IN ('pending', 'processing', 'succeeded', 'failed', 'returned')),
    client_id              uuid NOT NULL,
    amount                 bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    currency               text NOT NULL,
    source_wallet_id       uuid,
    destination_wallet_id  uuid,
    bank_account_id        uuid,
    bank                   text,
    memo                   text,
    failure_code           text,
    failure_detail         text,
    attention              jsonb,
    workflow_id            text NOT NULL,
    effective_at           timestamptz NOT NULL,
    created_at             timestamptz NOT NULL,
    completed_at           timestamptz,
    hold_id                uuid,
    rails                  text CHECK (rails ~ '^(instant|ach)(,(instant|ach))*$'),
    trace                  text,
    CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CHECK ((status IN ('pending', 'processing')) = (completed_at IS NULL)),
    CHECK (hold_id IS NULL OR kind = 'transfer'),
    CHECK (rails IS NULL OR bank IS NOT NULL)
) PARTITION BY RANGE (transaction_id);
CREATE INDEX transactions_open ON ledger.transactions (transaction_id) WHERE status IN ('pending', 'processing');
CREATE INDEX transactions_in_flight ON ledger.transactions (bank_account_id)
    WHERE bank_account_id IS NOT NULL AND status IN ('pending', 'processing');
CREATE INDEX transactions_captures ON ledger.transactions (hold_id) WHERE hold_id IS NOT NULL;
COMMENT ON COLUMN ledger.transactions.hold_id IS 'The client''s hold that a transfer captures.';
COMMENT ON COLUMN ledger.transactions.rails IS
    'The bank''s rails in the order in which they are tried; decided once, because an earlier one may have been asked.';
COMMENT ON COLUMN ledger.transactions.trace IS
    'W3C traceparent of the request that asked for it; all events of the transaction carry it.';

CREATE INDEX transactions_attention ON ledger.transactions (transaction_id) WHERE attention IS NOT NULL;

-- What operators told payments. What moves money by a person's word comes through the API, with who it was.
CREATE TABLE ledger.operator_actions (
    action_id       uuid PRIMARY KEY,
    transaction_id  uuid NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('retry', 'cancel', 'resolve', 'force')),
    via             text NOT NULL CHECK (via IN ('api', 'temporal')),
    outcome         text CHECK (outcome IN ('paid', 'settled', 'not_paid', 'corrected', 'written_off')),
    evidence        text CHECK (evidence <> ''),
    asked_by        text NOT NULL,
    reason          text NOT NULL,
    attention_step  text,
    attention_since timestamptz,
    effective_at    timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((kind IN ('resolve', 'force')) = (outcome IS NOT NULL)),
    CHECK ((kind = 'resolve') = (evidence IS NOT NULL)),
    CHECK (outcome IS NULL OR (via = 'api' AND attention_since IS NOT NULL))
);
CREATE INDEX operator_actions_of ON ledger.operator_actions (transaction_id);
-- What became of them, each once.
CREATE TABLE ledger.operator_action_marks (
    action_id  uuid NOT NULL REFERENCES ledger.operator_actions,
    mark       text NOT NULL CHECK (mark IN ('approved', 'accepted', 'refused')),
    marked_by  text NOT NULL,
    note       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (action_id, mark)
);

-- What a bank has moved and is no payment's: posted and cleared by steps under the item's id, which is no transaction's.
CREATE TABLE ledger.suspense_items (
    item_id          uuid PRIMARY KEY,
    bank             text NOT NULL,
    return_reference text NOT NULL,
    reference        text NOT NULL,
    code             text NOT NULL,
    moved            bigint NOT NULL CHECK (moved <> 0),
    currency         text NOT NULL,
    reason           text NOT NULL,
    detail           text NOT NULL,
    returned_at      timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (bank, return_reference)
);
COMMENT ON COLUMN ledger.suspense_items.moved IS 'Minor units on our account at the bank, positive where we received.';

-- Debts that are written off: asked for by one operator, ended once by another's approval or by being withdrawn. The
-- entries are posted under the write-off's id, which is no transaction's.
CREATE TABLE ledger.write_offs (
    write_off_id uuid PRIMARY KEY,
    wallet_id    uuid NOT NULL,
    amount       bigint NOT NULL CHECK (amount > 0),
    currency     text NOT NULL,
    asked_by     text NOT NULL,
    reason       text NOT NULL,
    evidence     text NOT NULL CHECK (evidence <> ''),
    key_digest   bytea NOT NULL CHECK (length(key_digest) = 16),
    fingerprint  bytea NOT NULL CHECK (length(fingerprint) = 32),
    effective_at timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (wallet_id, key_digest)
);
CREATE TABLE ledger.write_off_marks (
    write_off_id uuid PRIMARY KEY REFERENCES ledger.write_offs,
    mark         text NOT NULL CHECK (mark IN ('approved', 'withdrawn')),
    marked_by    text NOT NULL,
    note         text NOT NULL,
    written_off  bigint CHECK (written_off > 0),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((mark = 'approved') = (written_off IS NOT NULL))
);

CREATE TABLE ledger.transaction_steps (
    transaction_id uuid NOT NULL,
    step           text NOT NULL,
    outcome        text NOT NULL CHECK (outcome IN ('posted', 'refused')),
    refusal_code   text,
    refusal_detail text,
    posting_id     uuid,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (transaction_id, step),
    CHECK ((outcome = 'refused') = (refusal_code IS NOT NULL)),
    CHECK (outcome = 'posted' OR posting_id IS NULL)
) PARTITION BY RANGE (transaction_id);

CREATE TABLE ledger.transaction_events (
    transaction_id uuid NOT NULL,
    event_id       uuid NOT NULL,
    type           text NOT NULL,
    step           text,
    detail         jsonb NOT NULL DEFAULT '{}',
    effective_at   timestamptz NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (transaction_id, event_id)
) PARTITION BY RANGE (transaction_id);

CREATE TABLE ledger.postings (
    posting_id     uuid NOT NULL PRIMARY KEY,
    transaction_id uuid NOT NULL,
    step           text NOT NULL,
    effective_at   timestamptz NOT NULL,
    created_at     timestamptz NOT NULL
) PARTITION BY RANGE (posting_id);

CREATE TABLE ledger.ledger_entries (
    entry_id       uuid NOT NULL PRIMARY KEY,
    posting_id     uuid NOT NULL,
    transaction_id uuid NOT NULL,
    account_id     uuid NOT NULL,
    type           text NOT NULL CHECK (type IN ('DEBIT', 'CREDIT')),
    amount         bigint NOT NULL CHECK (amount > 0),
    currency       text NOT NULL,
    balance_after  bigint NOT NULL,
    version        bigint NOT NULL CHECK (version > 0),
    created_at     timestamptz NOT NULL
) PARTITION BY RANGE (entry_id);
CREATE INDEX ledger_entries_statement ON ledger.ledger_entries (account_id, version);

-- A hold is a saga's, placed and ended by the steps of its transaction, or a client's, which transfers capture. A
-- deposit's, with available_at, is for what its bank may still take back.
CREATE TABLE ledger.holds (
    hold_id        uuid PRIMARY KEY,
    transaction_id uuid UNIQUE,
    client_id      uuid,
    account_id     uuid NOT NULL,
    amount         bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    currency       text NOT NULL,
    captured       bigint NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND amount),
    status         text NOT NULL CHECK (status IN ('active', 'captured', 'released', 'expired', 'failed')),
    memo           text,
    failure_code   text,
    failure_detail text,
    effective_at   timestamptz NOT NULL,
    expires_at     timestamptz,
    available_at   timestamptz,
    created_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    CONSTRAINT holds_owner CHECK ((transaction_id IS NULL) = (client_id IS NOT NULL)),
    CONSTRAINT holds_of_sagas_stay CHECK ((expires_at IS NULL) = (client_id IS NULL)),
    CONSTRAINT holds_of_deposits CHECK (available_at IS NULL OR client_id IS NULL),
    CHECK (status NOT IN ('expired', 'failed') OR client_id IS NOT NULL),
    CHECK ((status = 'active') = (ended_at IS NULL)),
    CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CHECK (CASE status WHEN 'captured' THEN captured > 0 WHEN 'failed' THEN captured = 0 ELSE captured < amount END)
);
CREATE INDEX holds_active ON ledger.holds (account_id) WHERE status = 'active';
CREATE INDEX holds_due ON ledger.holds (expires_at) WHERE status = 'active' AND expires_at IS NOT NULL;
CREATE INDEX holds_maturing ON ledger.holds (available_at) WHERE status = 'active' AND available_at IS NOT NULL;
CREATE INDEX holds_of_clients ON ledger.holds (account_id, hold_id) WHERE client_id IS NOT NULL;
COMMENT ON COLUMN ledger.holds.expires_at IS 'Business time. A saga''s hold never expires by itself.';
COMMENT ON COLUMN ledger.holds.available_at IS
    'Business time before which a deposit''s hold is not released; nor is it before the deposit has settled.';

CREATE TABLE ledger.idempotency_keys (
    key_digest     bytea NOT NULL PRIMARY KEY CHECK (length(key_digest) = 16),
    fingerprint    bytea NOT NULL CHECK (length(fingerprint) = 32),
    transaction_id uuid NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
) PARTITION BY HASH (key_digest);
DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE ledger.idempotency_keys_%s PARTITION OF ledger.idempotency_keys '
                       'FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
    END LOOP;
END $$;

-- A row becomes readable to relays when its xid is below pg_snapshot_xmin: no late commit can slip under a position.
CREATE TABLE ledger.outbox (
    created_at timestamptz NOT NULL DEFAULT now(),
    xid        xid8   NOT NULL DEFAULT pg_current_xact_id(),
    id         bigint GENERATED ALWAYS AS IDENTITY,
    lane       smallint NOT NULL,
    event_id   uuid   NOT NULL,
    topic      text   NOT NULL,
    key        text   NOT NULL,
    type       text   NOT NULL,
    data       json   NOT NULL,
    trace      text,
    PRIMARY KEY (topic, lane, xid, id, created_at)
) PARTITION BY RANGE (created_at);

-- A stream is a (topic, lane): how far it was published, and to which broker; a new broker is given again what was not
-- confirmed (docs/adr/0003-outbox-order-and-replaced-brokers.md).
CREATE TABLE ledger.relay_positions (
    topic      text NOT NULL,
    lane       smallint NOT NULL,
    broker     text NOT NULL,
    xid        xid8 NOT NULL,
    id         bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, lane)
);
-- Beside the effects of the consumer, in whose commit it is written; hence the shard that the events came from.
CREATE TABLE ledger.consumer_positions (
    consumer   text NOT NULL,
    shard      smallint NOT NULL,
    topic      text NOT NULL,
    lane       smallint NOT NULL,
    xid        xid8 NOT NULL,
    id         bigint NOT NULL,
    missing_since timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, shard, topic, lane)
);
COMMENT ON COLUMN ledger.consumer_positions.missing_since IS
    'Set by a consumer that did not get what follows its position; the relay publishes it again and clears this.';

-- What a consumer could not process, kept in the commit that goes past it: the message as it came, and why.
CREATE TABLE ledger.dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer    text NOT NULL,
    shard       smallint NOT NULL,
    topic       text NOT NULL,
    lane        smallint NOT NULL,
    xid         xid8 NOT NULL,
    id          bigint NOT NULL,
    type        text NOT NULL,
    message     bytea NOT NULL,
    reason      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    UNIQUE (consumer, shard, topic, lane, xid, id)
);

-- Guard 1: the entries of a statement sum to zero for every posting and currency in it.
CREATE FUNCTION ledger.entries_sum_to_zero() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced uuid;
BEGIN
    SELECT posting_id INTO unbalanced FROM new_entries
    GROUP BY posting_id, currency
    HAVING sum(CASE type WHEN 'DEBIT' THEN amount ELSE -amount END) <> 0
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'posting % does not sum to zero', unbalanced USING ERRCODE = 'SG001';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entries_sum_to_zero AFTER INSERT ON ledger.ledger_entries
    REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION ledger.entries_sum_to_zero();

-- Guard 3: what was written stays as it was written, whoever asks.
CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: the record is immutable', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'SG003';
END $$;
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.postings
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.transaction_steps
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.transaction_events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.idempotency_keys
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.account_changes
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.account_changes
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.postings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.suspense_items
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.suspense_items
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.write_offs
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.write_offs
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.write_off_marks
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.write_off_marks
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.operator_actions
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.operator_actions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.operator_action_marks
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.operator_action_marks
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Two people: who approves a force is not who proposed it, and without approval it is not accepted.
CREATE FUNCTION ledger.force_wants_two() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked ledger.operator_actions;
BEGIN
    SELECT * INTO asked FROM ledger.operator_actions WHERE action_id = NEW.action_id;
    IF NEW.mark = 'approved' AND (asked.kind <> 'force' OR asked.asked_by = NEW.marked_by)
       OR NEW.mark = 'accepted' AND asked.kind = 'force' AND NOT EXISTS (
           SELECT FROM ledger.operator_action_marks WHERE action_id = NEW.action_id AND mark = 'approved') THEN
        RAISE EXCEPTION 'action % wants two people', NEW.action_id USING ERRCODE = 'SG010';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER force_wants_two BEFORE INSERT ON ledger.operator_action_marks
    FOR EACH ROW EXECUTE FUNCTION ledger.force_wants_two();

-- Two people again: who approves a write-off is not who asked for it.
CREATE FUNCTION ledger.write_off_wants_two() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.mark = 'approved' AND EXISTS (
           SELECT FROM ledger.write_offs w WHERE w.write_off_id = NEW.write_off_id
           AND (w.asked_by = NEW.marked_by OR w.amount < NEW.written_off)) THEN
        RAISE EXCEPTION 'write-off % wants two people', NEW.write_off_id USING ERRCODE = 'SG010';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER write_off_wants_two BEFORE INSERT ON ledger.write_off_marks
    FOR EACH ROW EXECUTE FUNCTION ledger.write_off_wants_two();

-- Guard 9: a status moves as domain/transactions.py says; a hold ends once, and what was captured stays captured.
CREATE FUNCTION ledger.legal_status_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) IN (('pending', 'processing'), ('pending', 'succeeded'), ('pending', 'failed'),
                                    ('processing', 'succeeded'), ('processing', 'failed'),
                                    ('succeeded', 'returned')) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a transaction cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'SG009';
END $$;
CREATE TRIGGER legal_status_move BEFORE UPDATE OF status ON ledger.transactions
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION ledger.legal_status_move();
CREATE FUNCTION ledger.hold_ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'hold % is %, with % captured', OLD.hold_id, OLD.status, OLD.captured USING ERRCODE = 'SG009';
END $$;
CREATE TRIGGER hold_ends_once BEFORE UPDATE ON ledger.holds
    FOR EACH ROW WHEN (OLD.status <> 'active' OR NEW.captured < OLD.captured)
    EXECUTE FUNCTION ledger.hold_ends_once();
-- Only a change of rules sets a status, so that no posting pays for this.
CREATE FUNCTION ledger.closed_for_ever() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'account % is closed', OLD.account_id USING ERRCODE = 'SG009';
END $$;
CREATE TRIGGER closed_for_ever BEFORE UPDATE OF status ON ledger.accounts
    FOR EACH ROW WHEN (OLD.status = 'closed') EXECUTE FUNCTION ledger.closed_for_ever();

-- Partitions: by month of the UUIDv7 (its first 48 bits are Unix milliseconds), the outbox by day.
CREATE FUNCTION ledger.uuid_at(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION ledger.attach_partition(parent text, suffix text, lower_bound text, upper_bound text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    name text := parent || '_' || suffix;
BEGIN
    IF to_regclass('ledger.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Made apart and attached, so that readers and writers of the parent are never locked out.
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.%I INCLUDING ALL EXCLUDING IDENTITY)', name, parent);
    IF parent IN ('ledger_entries', 'postings') THEN
        EXECUTE format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.%I FOR EACH STATEMENT '
                       'EXECUTE FUNCTION ledger.refuse_change()', name);
    END IF;
    EXECUTE format('ALTER TABLE ledger.%I ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, name, lower_bound, upper_bound);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION ledger.attach_partition FROM PUBLIC;

CREATE FUNCTION ledger.ensure_partitions(months_ahead integer DEFAULT 3, days_ahead integer DEFAULT 14)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    made   integer := 0;
    parent text;
    start  timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ledger.ensure_partitions'));
    FOR start IN SELECT generate_series(date_trunc('month', now()) - interval '1 month',
                                        date_trunc('month', now()) + make_interval(months => months_ahead),
                                        interval '1 month') LOOP
        FOREACH parent IN ARRAY ARRAY['transactions', 'transaction_steps', 'transaction_events', 'postings',
                                      'ledger_entries'] LOOP
            made := made + ledger.attach_partition(
                parent, to_char(start, 'YYYY_MM'),
                ledger.uuid_at(start)::text, ledger.uuid_at(start + interval '1 month')::text)::integer;
        END LOOP;
    END LOOP;
    FOR start IN SELECT generate_series(date_trunc('day', now()) - interval '1 day',
                                        date_trunc('day', now()) + make_interval(days => days_ahead),
                                        interval '1 day') LOOP
        made := made + ledger.attach_partition('outbox', to_char(start, 'YYYY_MM_DD'),
                                               start::text, (start + interval '1 day')::text)::integer;
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION ledger.ensure_partitions FROM PUBLIC;
SELECT ledger.ensure_partitions();

GRANT USAGE ON SCHEMA ledger TO sagapay_app;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO sagapay_app;
GRANT INSERT ON ledger.accounts, ledger.account_changes, ledger.transactions, ledger.transaction_steps, ledger.transaction_events,
                ledger.postings, ledger.ledger_entries, ledger.holds, ledger.idempotency_keys, ledger.outbox,
                ledger.operator_actions, ledger.operator_action_marks, ledger.suspense_items, ledger.write_offs,
                ledger.write_off_marks
      TO sagapay_app;
GRANT UPDATE (balance, held, version, status, debits_frozen, credits_frozen, limit_per_transaction, limit_daily,
              spent_on, spent, owed, updated_at) ON ledger.accounts TO sagapay_app;
GRANT UPDATE (status, failure_code, failure_detail, attention, completed_at) ON ledger.transactions TO sagapay_app;
GRANT UPDATE (captured, status, ended_at) ON ledger.holds TO sagapay_app;
GRANT INSERT, UPDATE ON ledger.relay_positions, ledger.consumer_positions TO sagapay_app;
GRANT INSERT, UPDATE (reason, replayed_at) ON ledger.dead_letters TO sagapay_app;
GRANT EXECUTE ON FUNCTION ledger.ensure_partitions TO sagapay_app;

-- Transfer batches, on the shard of the wallet that pays. Both tables can be partitioned by range of the batch's UUIDv7:
-- their primary keys begin with it. What a batch's transfers did to the ledger is in the ledger's own tables.

CREATE TABLE ledger.transfer_batches (
    batch_id         uuid NOT NULL PRIMARY KEY,
    client_id        uuid NOT NULL,
    source_wallet_id uuid NOT NULL,
    currency         text NOT NULL,
    mode             text NOT NULL CHECK (mode IN ('independent', 'atomic')),
    transfers        integer NOT NULL CHECK (transfers BETWEEN 1 AND 10000),
    status           text NOT NULL DEFAULT 'accepted'
                     CHECK (status IN ('accepted', 'processing', 'completed', 'failed')),
    failed_index     integer,
    failure_code     text,
    failure_detail   text,
    effective_at     timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    completed_at     timestamptz,
    CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CHECK (status <> 'failed' OR mode = 'atomic'),
    CHECK ((status IN ('accepted', 'processing')) = (completed_at IS NULL))
);
CREATE INDEX transfer_batches_open ON ledger.transfer_batches (batch_id) WHERE status IN ('accepted', 'processing');

CREATE TABLE ledger.transfer_batch_items (
    batch_id              uuid NOT NULL,
    item_index            integer NOT NULL CHECK (item_index BETWEEN 0 AND 9999),
    destination_wallet_id uuid NOT NULL,
    amount                bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    memo                  text,
    key_digest            bytea NOT NULL CHECK (length(key_digest) = 16),
    fingerprint           bytea NOT NULL CHECK (length(fingerprint) = 32),
    workflow_id           text NOT NULL,
    proposed_id           uuid NOT NULL,
    status                text NOT NULL DEFAULT 'pending'
                          CHECK (status IN ('pending', 'processing', 'succeeded', 'failed')),
    transaction_id        uuid,
    failure_code          text,
    failure_detail        text,
    PRIMARY KEY (batch_id, item_index),
    CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CHECK (status NOT IN ('processing', 'succeeded') OR transaction_id IS NOT NULL)
) WITH (fillfactor = 80);
COMMENT ON COLUMN ledger.transfer_batch_items.proposed_id IS
    'The transaction''s id if the item begins it; transaction_id is the recorded one, another where its key was used before.';

-- A status moves as domain/batches.py says, and a final one never does.
CREATE FUNCTION ledger.legal_batch_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) IN (('accepted', 'processing'), ('accepted', 'completed'), ('accepted', 'failed'),
                                    ('processing', 'completed'), ('processing', 'failed')) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'batch % cannot go from % to %', OLD.batch_id, OLD.status, NEW.status USING ERRCODE = 'SG009';
END $$;
CREATE TRIGGER legal_batch_move BEFORE UPDATE ON ledger.transfer_batches
    FOR EACH ROW EXECUTE FUNCTION ledger.legal_batch_move();
CREATE FUNCTION ledger.batch_item_ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'item % of batch % has ended as %', OLD.item_index, OLD.batch_id, OLD.status USING ERRCODE = 'SG009';
END $$;
CREATE TRIGGER batch_item_ends_once BEFORE UPDATE ON ledger.transfer_batch_items
    FOR EACH ROW WHEN (OLD.status IN ('succeeded', 'failed') OR NEW.status = 'pending'
                       OR NEW.transaction_id IS DISTINCT FROM OLD.transaction_id AND OLD.transaction_id IS NOT NULL)
    EXECUTE FUNCTION ledger.batch_item_ends_once();

GRANT SELECT, INSERT ON ledger.transfer_batches, ledger.transfer_batch_items TO sagapay_app;
GRANT UPDATE (status, failed_index, failure_code, failure_detail, completed_at) ON ledger.transfer_batches TO sagapay_app;
GRANT UPDATE (status, transaction_id, failure_code, failure_detail) ON ledger.transfer_batch_items TO sagapay_app;

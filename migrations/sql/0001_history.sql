-- The history read model: filled from events by a consumer, rebuilt at any time, never asked about money.

CREATE SCHEMA history;

CREATE TABLE history.wallet_transactions (
    wallet_id        uuid NOT NULL,
    transaction_id   uuid NOT NULL,
    direction        text NOT NULL CHECK (direction IN ('in', 'out')),
    kind             text NOT NULL,
    status           text NOT NULL,
    amount           bigint NOT NULL,
    currency         text NOT NULL,
    counterparty_id  uuid,
    bank_account_id  uuid,
    memo             text,
    failure_code     text,
    occurred_at      timestamptz NOT NULL,
    memo_terms       text[] NOT NULL,
    PRIMARY KEY (wallet_id, transaction_id)
) PARTITION BY HASH (wallet_id);
DO $$
BEGIN
    FOR part IN 0..7 LOOP
        EXECUTE format('CREATE TABLE history.wallet_transactions_%s PARTITION OF history.wallet_transactions '
                       'FOR VALUES WITH (MODULUS 8, REMAINDER %s)', part, part);
    END LOOP;
END $$;
-- Newest first is the primary key's order; these are for what is rare among a wallet's many lines.
CREATE INDEX wallet_transactions_status ON history.wallet_transactions (wallet_id, status, transaction_id);
CREATE INDEX wallet_transactions_kind ON history.wallet_transactions (wallet_id, kind, transaction_id);
CREATE INDEX wallet_transactions_counterparty ON history.wallet_transactions
    (wallet_id, counterparty_id, transaction_id) WHERE counterparty_id IS NOT NULL;
-- A term is the wallet and a word of the memo, so that a word that all use finds one wallet's lines alone.
CREATE INDEX wallet_transactions_memo ON history.wallet_transactions USING gin (memo_terms);

GRANT USAGE ON SCHEMA history TO sagapay_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA history TO sagapay_app;

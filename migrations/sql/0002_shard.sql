-- Which shard this database is, of how many: a wallet's shard follows from its id and that number, so a database that
-- was filled under another must not be used.

CREATE TABLE ledger.shard (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number     smallint NOT NULL,
    count      smallint NOT NULL CHECK (count BETWEEN 1 AND 4096),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (number BETWEEN 0 AND count - 1)
);
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON ledger.shard
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
GRANT SELECT ON ledger.shard TO sagapay_app;

-- Before this version there was only one.
INSERT INTO ledger.shard (number, count) SELECT 0, 1 WHERE EXISTS (SELECT FROM ledger.accounts);

-- The directory: who there is. Beside shard 0; money is never here.

CREATE SCHEMA directory;

CREATE TABLE directory.clients (
    client_id  uuid PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Keys are 256 random bits, so a plain SHA-256 at rest is as good as a slow hash.
CREATE TABLE directory.api_keys (
    key_hash   bytea PRIMARY KEY CHECK (length(key_hash) = 32),
    client_id  uuid NOT NULL REFERENCES directory.clients,
    scope      text NOT NULL CHECK (scope IN ('app', 'operator')),
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE directory.users (
    user_id    uuid PRIMARY KEY,
    client_id  uuid NOT NULL REFERENCES directory.clients,
    wallet_id  uuid NOT NULL UNIQUE,
    currency   text NOT NULL,
    name       text NOT NULL,
    email      text NOT NULL,
    handle     text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (client_id, handle)
);

CREATE TABLE directory.bank_links (
    link_id    uuid PRIMARY KEY,
    client_id  uuid NOT NULL REFERENCES directory.clients,
    user_id    uuid NOT NULL REFERENCES directory.users,
    bank       text NOT NULL,
    link_token text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE directory.bank_accounts (
    bank_account_id uuid PRIMARY KEY,
    client_id       uuid NOT NULL REFERENCES directory.clients,
    user_id         uuid NOT NULL REFERENCES directory.users,
    bank            text NOT NULL,
    account_token   text NOT NULL,
    holder_name     text NOT NULL,
    mask            text NOT NULL,
    status          text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'unlinked')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (bank, account_token, user_id)
);

-- Idempotency of POSTs that have no source wallet and write here: one key, one resource, for ever.
CREATE TABLE directory.request_keys (
    key_digest  bytea PRIMARY KEY CHECK (length(key_digest) = 16),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    resource_id uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

GRANT USAGE ON SCHEMA directory TO sagapay_app;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA directory TO sagapay_app;
GRANT UPDATE (revoked_at) ON directory.api_keys TO sagapay_app;
GRANT UPDATE (status) ON directory.bank_accounts TO sagapay_app;

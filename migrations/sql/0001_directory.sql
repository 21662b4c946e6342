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

-- Encrypted by the application (infra/secrets.py): link_token here; account_token and the amounts below.
CREATE TABLE directory.bank_links (
    link_id    uuid PRIMARY KEY,
    client_id  uuid NOT NULL REFERENCES directory.clients,
    user_id    uuid NOT NULL REFERENCES directory.users,
    bank       text NOT NULL,
    link_token text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Tokens are long and random, so a plain SHA-256 finds one again and says nothing of it.
CREATE TABLE directory.bank_accounts (
    bank_account_id uuid PRIMARY KEY,
    client_id       uuid NOT NULL REFERENCES directory.clients,
    user_id         uuid NOT NULL REFERENCES directory.users,
    bank            text NOT NULL,
    account_token   text,
    token_digest    bytea CHECK (length(token_digest) = 32),
    holder_name     text NOT NULL,
    mask            text NOT NULL CHECK (length(mask) <= 4),
    status          text NOT NULL DEFAULT 'active'
        CHECK (status IN ('pending_verification', 'active', 'debits_stopped', 'relink_required',
                          'verification_failed', 'unlinked')),
    status_since    timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (bank, token_digest, user_id),
    CHECK ((account_token IS NULL) = (token_digest IS NULL)),
    CHECK ((account_token IS NULL) = (status = 'unlinked'))
);

-- Two amounts that only the account's holder sees. `expires_at` is business time.
CREATE TABLE directory.micro_deposits (
    bank_account_id uuid PRIMARY KEY REFERENCES directory.bank_accounts,
    amounts         text NOT NULL,
    tries_left      integer NOT NULL CHECK (tries_left >= 0),
    expires_at      timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- Every status that a link has had, with who brought it about and why.
CREATE TABLE directory.bank_account_changes (
    bank_account_id uuid NOT NULL REFERENCES directory.bank_accounts,
    number          integer NOT NULL CHECK (number > 0),
    status          text NOT NULL,
    changed_by      text NOT NULL,
    reason          text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (bank_account_id, number)
);

CREATE FUNCTION directory.guard_bank_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> OLD.status AND NOT (OLD.status, NEW.status) IN (
        ('pending_verification', 'active'), ('pending_verification', 'verification_failed'),
        ('pending_verification', 'unlinked'), ('active', 'debits_stopped'), ('active', 'relink_required'),
        ('active', 'unlinked'), ('debits_stopped', 'active'), ('debits_stopped', 'relink_required'),
        ('debits_stopped', 'unlinked'), ('relink_required', 'active'), ('relink_required', 'unlinked'),
        ('verification_failed', 'unlinked')) THEN
        RAISE EXCEPTION 'a bank account cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bank_accounts_moves BEFORE UPDATE ON directory.bank_accounts
    FOR EACH ROW EXECUTE FUNCTION directory.guard_bank_account();

-- What banks have sent, each event once. `body` is encrypted; `occurred_at` is the bank's own time.
CREATE TABLE directory.bank_events (
    inbox_id    uuid PRIMARY KEY,
    bank        text NOT NULL,
    event_id    text NOT NULL,
    type        text NOT NULL,
    reference   text,
    body        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    due_at      timestamptz NOT NULL DEFAULT now(),
    handled_at  timestamptz,
    outcome     text,
    UNIQUE (bank, event_id),
    CHECK ((outcome IS NULL) = (handled_at IS NULL))
);
CREATE INDEX bank_events_waiting ON directory.bank_events (due_at) WHERE outcome IS NULL;

-- Where apps want to hear of events. Secrets are encrypted by the application. `failures` are attempts in a row; while
-- an endpoint rests, nothing is sent to it. No types: all of them.
CREATE TABLE directory.webhook_endpoints (
    endpoint_id     uuid PRIMARY KEY,
    client_id       uuid NOT NULL REFERENCES directory.clients,
    url             text NOT NULL,
    description     text NOT NULL,
    event_types     text[] NOT NULL,
    status          text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    disabled_reason text,
    secret          text NOT NULL,
    previous_secret text,
    previous_until  timestamptz,
    failures        integer NOT NULL DEFAULT 0,
    failing_since   timestamptz,
    resting_until   timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'disabled') = (disabled_reason IS NOT NULL)),
    CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
);
CREATE INDEX webhook_endpoints_of_client ON directory.webhook_endpoints (client_id);

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
GRANT UPDATE (body, due_at, handled_at, outcome) ON directory.bank_events TO sagapay_app;
GRANT UPDATE (amounts, tries_left) ON directory.micro_deposits TO sagapay_app;
GRANT UPDATE (link_token) ON directory.bank_links TO sagapay_app;
GRANT UPDATE, DELETE ON directory.webhook_endpoints TO sagapay_app;
GRANT UPDATE (status, status_since, account_token, token_digest, holder_name, mask)
    ON directory.bank_accounts TO sagapay_app;

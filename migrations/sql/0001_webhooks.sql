-- Webhooks to apps: what is to be told, to whom, and every attempt. Filled from events; money is never here.

CREATE SCHEMA webhooks;

-- In the order of (xid, id), read below the oldest open transaction, as the outbox is: a cursor misses no late commit.
CREATE TABLE webhooks.messages (
    event_id   uuid PRIMARY KEY,
    client_id  uuid NOT NULL,
    type       text NOT NULL,
    body       text NOT NULL,
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id         bigint GENERATED ALWAYS AS IDENTITY,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX messages_of_client ON webhooks.messages (client_id, xid, id);
CREATE INDEX messages_age ON webhooks.messages (created_at);

-- A first attempt is `pending` and its consumer's affair; what failed is `retrying` and the endpoint's workflow's.
CREATE TABLE webhooks.deliveries (
    endpoint_id uuid NOT NULL REFERENCES directory.webhook_endpoints ON DELETE CASCADE,
    event_id    uuid NOT NULL REFERENCES webhooks.messages ON DELETE CASCADE,
    status      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'retrying', 'delivered', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    id          bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (endpoint_id, event_id),
    CHECK ((ended_at IS NULL) = (status IN ('pending', 'retrying')))
);
CREATE INDEX deliveries_pending ON webhooks.deliveries (endpoint_id, id) WHERE status = 'pending';
CREATE INDEX deliveries_retrying ON webhooks.deliveries (endpoint_id, due_at) WHERE status = 'retrying';
CREATE INDEX deliveries_of_endpoint ON webhooks.deliveries (endpoint_id, id);
CREATE INDEX deliveries_of_message ON webhooks.deliveries (event_id);

CREATE TABLE webhooks.attempts (
    endpoint_id     uuid NOT NULL,
    event_id        uuid NOT NULL,
    number          integer NOT NULL,
    at              timestamptz NOT NULL DEFAULT now(),
    milliseconds    integer NOT NULL,
    response_status integer,
    error           text,
    PRIMARY KEY (endpoint_id, event_id, number),
    FOREIGN KEY (endpoint_id, event_id) REFERENCES webhooks.deliveries ON DELETE CASCADE
);

GRANT USAGE ON SCHEMA webhooks TO sagapay_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA webhooks TO sagapay_app;

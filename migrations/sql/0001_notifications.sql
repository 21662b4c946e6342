-- Notifications: what people want to be told, and what is to be sent to them. Beside the directory; money is never here.

CREATE SCHEMA notifications;

-- What a user does not want, as KIND:CHANNEL. Everything else is wanted, and so is a user without a row.
CREATE TABLE notifications.preferences (
    user_id    uuid PRIMARY KEY,
    unwanted   text[] NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- What is to be sent and what became of it. An event means each kind for one person, so this key makes it once.
-- `due_at` is when it may be tried; whoever takes it moves that into the future, so that nobody else does meanwhile.
CREATE TABLE notifications.messages (
    event_id   uuid NOT NULL,
    kind       text NOT NULL,
    channel    text NOT NULL,
    user_id    uuid NOT NULL,
    address    text NOT NULL,
    subject    text NOT NULL,
    body       text NOT NULL,
    event_time timestamptz NOT NULL,
    status     text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'sent', 'given_up')),
    due_at     timestamptz NOT NULL DEFAULT now(),
    attempts   integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    reason     text,
    settled_at timestamptz,
    PRIMARY KEY (event_id, kind, channel),
    CHECK ((status = 'waiting') = (settled_at IS NULL)),
    CHECK (status <> 'given_up' OR reason IS NOT NULL)
);
CREATE INDEX messages_due ON notifications.messages (channel, due_at) WHERE status = 'waiting';
CREATE INDEX messages_oldest ON notifications.messages (channel, event_time) WHERE status = 'waiting';
CREATE INDEX messages_settled ON notifications.messages (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX messages_of_user ON notifications.messages (user_id, event_time);

GRANT USAGE ON SCHEMA notifications TO sagapay_app;
GRANT SELECT, INSERT, UPDATE ON notifications.preferences TO sagapay_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON notifications.messages TO sagapay_app;

-- What is known of messages after they were sent, and what waits to go out together.

-- `kind`: what a channel says of a message (delivered, played, read, failed), or what became of it here (given_up).
-- One row of each, however often it is said; `at` is when it was so.
CREATE TABLE receipt (
    message     text        NOT NULL,
    kind        text        NOT NULL,
    channel     text        NOT NULL,
    at          timestamptz NOT NULL,
    detail      text        NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (message, kind)
);
CREATE INDEX receipt_recorded ON receipt (recorded_at);

-- How far the receipts of a channel have been read, in the channel's own words.
CREATE TABLE receipt_cursor (
    channel text PRIMARY KEY,
    cursor  text NOT NULL
);

-- The lines of digests, each for a notice. They go with the message of that name.
CREATE TABLE digest_line (
    digest text        NOT NULL,
    notice text        NOT NULL,
    at     timestamptz NOT NULL,
    text   text        NOT NULL,
    PRIMARY KEY (digest, notice)
);
CREATE INDEX digest_line_at ON digest_line (at);

-- What was given up, for whoever has to see it.
CREATE INDEX outbox_given_up ON outbox (made_at) WHERE sent_at IS NULL AND due_at = 'infinity';

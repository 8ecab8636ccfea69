-- What the centre knows. Only `streams` changes these tables; `dashboard_api` reads them.

-- How far each partition has been counted. It changes in the transaction that counts, so it is never ahead or behind.
-- `topic_id` is Kafka's own id of the topic: a topic that was deleted and made anew has another one.
CREATE TABLE position (
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    topic_id       uuid        NOT NULL,
    next_offset    bigint      NOT NULL CHECK (next_offset >= 0),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer_group, topic, partition)
);

-- Low-rate events (reports, incidents), kept for ever. The key is the identity, so a resend is seen however late.
-- `body` holds the record's own bytes: text that jsonb would refuse or change stays as it came.
CREATE TABLE event (
    source       text        NOT NULL,
    id           text        NOT NULL,
    type         text        NOT NULL,
    subject      text,
    time         timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,
    area         text        NOT NULL,
    area_list    text        NOT NULL,
    body         bytea       NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid          xid8        NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (source, id)
);
CREATE INDEX event_time ON event (time DESC);
CREATE INDEX event_committed_at ON event (committed_at DESC);
CREATE INDEX event_subject ON event (subject, time);

-- What adds up. A bucket is the sum of its rows: one for each dimension value, sketch bin and stream partition
-- (`shard`), so that two workers never wait for one row. Bin 0 alone is used by measures that keep no distribution.
CREATE TABLE kpi_minute (
    kpi    text             NOT NULL,
    area   text             NOT NULL,
    bucket timestamptz      NOT NULL,
    dim    text             NOT NULL,
    bin    integer          NOT NULL,
    shard  integer          NOT NULL,
    n      bigint           NOT NULL,
    total  double precision NOT NULL,
    low    double precision NOT NULL,
    high   double precision NOT NULL,
    PRIMARY KEY (kpi, area, bucket, dim, bin, shard)
);
CREATE TABLE kpi_hour (LIKE kpi_minute INCLUDING ALL);
CREATE TABLE kpi_day (LIKE kpi_minute INCLUDING ALL);
SELECT create_hypertable('kpi_minute', by_range('bucket', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('kpi_hour', by_range('bucket', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('kpi_day', by_range('bucket', INTERVAL '5 years'), create_default_indexes => false);

-- Who was heard, and when. One row for each partition that carries the source's events.
CREATE TABLE source_seen (
    source      text        NOT NULL,
    shard       integer     NOT NULL,
    topic       text        NOT NULL,
    n           bigint      NOT NULL,
    time        timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (source, topic, shard)
);

-- The change feed: one row for each transaction, saying what it touched. Transaction ids are not in commit order;
-- a reader that stops below pg_snapshot_xmin(pg_current_snapshot()) has seen everything there will ever be below it.
-- `touched` is JSON: {"kpis": [[kpi, bucket minute in epoch seconds, [area, …]], …], "events": n, "sources": [id, …]}.
CREATE TABLE change (
    xid          xid8        NOT NULL PRIMARY KEY DEFAULT pg_current_xact_id(),
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    touched      bytea       NOT NULL
);
CREATE INDEX change_committed_at ON change (committed_at);

-- Positions in the feed mean something within one epoch. A restore from a backup starts a new one.
CREATE TABLE feed (
    singleton  boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch      bigint      NOT NULL DEFAULT 1,
    started_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO feed DEFAULT VALUES;


-- Which workers are alive, and what they say of themselves. A worker that is gone stops beating.
CREATE TABLE worker (
    id         text        PRIMARY KEY,
    state      text        NOT NULL CHECK (state IN ('starting', 'counting', 'halted')),
    detail     text        NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL,
    beat_at    timestamptz NOT NULL
);

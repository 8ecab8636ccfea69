-- Indicators that merge in every order, areas that change, corrections, and what keeps the centre in repair.

-- Values are added up as whole millionths, so that every order of adding gives the same sum. `low` and `high` are kept
-- for the measures that need them; `sketch` holds a sketch of the different values seen.
-- `first_…` is what the bucket held when it closed, kept from the first change after that; null: it never changed.
ALTER TABLE kpi_minute ALTER COLUMN total TYPE numeric USING round(total::numeric * 1000000);
ALTER TABLE kpi_hour   ALTER COLUMN total TYPE numeric USING round(total::numeric * 1000000);
ALTER TABLE kpi_day    ALTER COLUMN total TYPE numeric USING round(total::numeric * 1000000);
ALTER TABLE kpi_minute ALTER COLUMN low DROP NOT NULL, ALTER COLUMN high DROP NOT NULL,
    ADD COLUMN sketch bytea, ADD COLUMN first_n bigint, ADD COLUMN first_total numeric,
    ADD COLUMN first_low double precision, ADD COLUMN first_high double precision, ADD COLUMN first_sketch bytea,
    ADD COLUMN corrected_at timestamptz;
ALTER TABLE kpi_hour ALTER COLUMN low DROP NOT NULL, ALTER COLUMN high DROP NOT NULL,
    ADD COLUMN sketch bytea, ADD COLUMN first_n bigint, ADD COLUMN first_total numeric,
    ADD COLUMN first_low double precision, ADD COLUMN first_high double precision, ADD COLUMN first_sketch bytea,
    ADD COLUMN corrected_at timestamptz;
ALTER TABLE kpi_day ALTER COLUMN low DROP NOT NULL, ALTER COLUMN high DROP NOT NULL,
    ADD COLUMN sketch bytea, ADD COLUMN first_n bigint, ADD COLUMN first_total numeric,
    ADD COLUMN first_low double precision, ADD COLUMN first_high double precision, ADD COLUMN first_sketch bytea,
    ADD COLUMN corrected_at timestamptz;
-- A distribution's measure is now told by its bins alone.
UPDATE kpi_minute SET low = NULL, high = NULL;
UPDATE kpi_hour SET low = NULL, high = NULL;
UPDATE kpi_day SET low = NULL, high = NULL;

-- `area` becomes the id of an area version, `area_list` stays what the sender named. `window_time` is the moment whose
-- buckets the event belongs to: its time, or the start of the period that it is about. `corrects` is the id of the event
-- of the same source that this one replaces or takes back; a drill corrects nothing. Where it stood on the log tells a
-- back-fill where to stop, and `site_version` by which catalogue it was counted; unknown for what was kept before.
ALTER TABLE event
    ADD COLUMN located       text        NOT NULL DEFAULT 'code',
    ADD COLUMN window_time   timestamptz,
    ADD COLUMN corrects      text,
    ADD COLUMN is_withdrawal boolean     NOT NULL DEFAULT false,
    ADD COLUMN is_exercise   boolean     NOT NULL DEFAULT false,
    ADD COLUMN topic         text,
    ADD COLUMN partition     integer,
    ADD COLUMN "offset"      bigint,
    ADD COLUMN site_version  integer     NOT NULL DEFAULT 0;
UPDATE event SET window_time = time;
ALTER TABLE event ALTER COLUMN window_time SET NOT NULL;
CREATE INDEX event_corrects ON event (source, corrects) WHERE corrects IS NOT NULL;
CREATE INDEX event_type_window ON event (type, window_time);

-- The events that count: no drills, no withdrawals, nothing that another event of the same source replaces or takes
-- back, and of several that replace the same one the last. `streams.core.correction` says the same in Python.
CREATE VIEW countable_event AS
SELECT e.* FROM event AS e
WHERE NOT e.is_exercise AND NOT e.is_withdrawal
    AND NOT EXISTS (SELECT FROM event AS c WHERE c.source = e.source AND c.corrects = e.id)
    AND (e.corrects IS NULL OR NOT EXISTS (
        SELECT FROM event AS s
        WHERE s.source = e.source AND s.corrects = e.corrects AND NOT s.is_withdrawal
            AND (s.received_at, s.id COLLATE "C") > (e.received_at, e.id COLLATE "C")
    ));

-- `watermark_s`: buckets that end a grace before it are closed on this partition. `caught_up_at`: when the partition
-- was last seen counted to its end. `site_version`: the site pack that counts from `next_offset` on.
ALTER TABLE position
    ADD COLUMN watermark_s  double precision NOT NULL DEFAULT 0,
    ADD COLUMN caught_up_at timestamptz,
    ADD COLUMN site_version integer NOT NULL DEFAULT 0;

-- The site packs that have counted, each with its files' texts as JSON by file name. Version 0 is none.
CREATE TABLE site_version (
    version  integer     PRIMARY KEY,
    digest   text        NOT NULL,
    pack     bytea       NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- From which offset on each version counts. A back-fill of a new KPI stops there.
CREATE TABLE site_switch (
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    version        integer     NOT NULL REFERENCES site_version,
    topic_id       uuid        NOT NULL,
    next_offset    bigint      NOT NULL,
    switched_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer_group, topic, partition, version)
);

-- How far a back-fill of one KPI has come on each partition. It ends at `stop_offset`, where live counting began.
CREATE TABLE backfill (
    kpi         text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL,
    stop_offset bigint      NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kpi, topic, partition)
);

-- Dead letters that were sent again, by where they lie on the dead-letter topic.
CREATE TABLE redriven (
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    redriven_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (partition, "offset")
);

-- What has to happen at a time. Whoever is up claims what is due.
CREATE TABLE timer (
    name       text        PRIMARY KEY,
    due_at     timestamptz NOT NULL,
    ran_at     timestamptz,
    outcome    text        NOT NULL DEFAULT ''
);

-- What goes out of the centre. The id is deterministic, so that what causes it twice sends it once.
CREATE TABLE outbox (
    id           text        PRIMARY KEY,
    channel      text        NOT NULL,
    target       text        NOT NULL,
    content_type text        NOT NULL,
    body         bytea       NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts     integer     NOT NULL DEFAULT 0,
    last_error   text,
    sent_at      timestamptz
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE sent_at IS NULL;

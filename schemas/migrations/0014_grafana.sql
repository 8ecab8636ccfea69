-- What Grafana reads: views in a schema of their own, for a role that reads nothing else (deploy/grafana/role.sql). They
-- hold sums of indicators that are for all, and cases without a word that anybody wrote; no drills, no complaints about
-- officials, nobody's name.

-- What the newest registered site pack declares, for whoever reads the tables with SQL. An indicator stands here if it is
-- for all and is one sum, or one sum over another: of its base `numerator` the column `numerator_of`, times `per`, over the
-- same of `denominator` where there is one.
CREATE TABLE indicator (
    id             text             PRIMARY KEY,
    ordinal        integer          NOT NULL,
    names          jsonb            NOT NULL,
    unit           text             NOT NULL,
    numerator      text             NOT NULL,
    numerator_of   text             NOT NULL CHECK (numerator_of IN ('n', 'total')),
    denominator    text,
    denominator_of text             CHECK (denominator_of IN ('n', 'total')),
    per            double precision NOT NULL,
    site_version   integer          NOT NULL REFERENCES site_version
);

-- Its areas, of the present code list and of earlier ones.
CREATE TABLE known_area (
    id         text    PRIMARY KEY,
    ordinal    integer NOT NULL,
    list       text    NOT NULL,
    is_present boolean NOT NULL,
    kind       text    NOT NULL,
    parent     text,
    names      jsonb   NOT NULL
);

CREATE SCHEMA grafana;

CREATE VIEW grafana.indicators AS
SELECT id AS kpi, ordinal, names, unit, denominator IS NOT NULL AS is_share FROM public.indicator;

CREATE VIEW grafana.areas AS
SELECT id AS area, ordinal, list, is_present, kind, parent, names FROM public.known_area;

-- The value of any span is the sum of `numerator`, over the sum of `denominator` where the indicator is a share.
CREATE VIEW grafana.kpi_minutes AS
SELECT i.id AS kpi, k.area, k.bucket,
    sum(CASE i.numerator_of WHEN 'n' THEN k.n ELSE k.total / 1000000 END) FILTER (WHERE k.kpi = i.numerator)
        ::double precision * i.per AS numerator,
    sum(CASE i.denominator_of WHEN 'n' THEN k.n ELSE k.total / 1000000 END) FILTER (WHERE k.kpi = i.denominator)
        ::double precision AS denominator
FROM public.indicator AS i JOIN public.kpi_minute AS k ON k.kpi IN (i.numerator, i.denominator)
GROUP BY i.id, k.area, k.bucket;

CREATE VIEW grafana.kpi_hours AS
SELECT i.id AS kpi, k.area, k.bucket,
    sum(CASE i.numerator_of WHEN 'n' THEN k.n ELSE k.total / 1000000 END) FILTER (WHERE k.kpi = i.numerator)
        ::double precision * i.per AS numerator,
    sum(CASE i.denominator_of WHEN 'n' THEN k.n ELSE k.total / 1000000 END) FILTER (WHERE k.kpi = i.denominator)
        ::double precision AS denominator
FROM public.indicator AS i JOIN public.kpi_hour AS k ON k.kpi IN (i.numerator, i.denominator)
GROUP BY i.id, k.area, k.bucket;

CREATE VIEW grafana.kpi_days AS
SELECT i.id AS kpi, k.area, k.bucket,
    sum(CASE i.numerator_of WHEN 'n' THEN k.n ELSE k.total / 1000000 END) FILTER (WHERE k.kpi = i.numerator)
        ::double precision * i.per AS numerator,
    sum(CASE i.denominator_of WHEN 'n' THEN k.n ELSE k.total / 1000000 END) FILTER (WHERE k.kpi = i.denominator)
        ::double precision AS denominator
FROM public.indicator AS i JOIN public.kpi_day AS k ON k.kpi IN (i.numerator, i.denominator)
GROUP BY i.id, k.area, k.bucket;

-- Cases that were not merged into another. What is in `body` alone is read from there; where jsonb would refuse it, it is
-- not known.
CREATE VIEW grafana.handled_cases AS
SELECT c.id, c.kind, c.state, c.is_open, c.category, c.severity, c.area, c.agency, c.opened_at, c.changed_at, c.due_at,
    c.closed_at,
    c.is_open AND coalesce(c.due_at < clock_timestamp(), false) AS is_overdue,
    (told.body ->> 'accepted_at')::timestamptz AS accepted_at,
    (told.body ->> 'answered_at')::timestamptz AS answered_at,
    (told.body ->> 'resolved_at')::timestamptz AS resolved_at
FROM public.cases AS c
CROSS JOIN LATERAL (
    SELECT CASE WHEN position('\x5c7530303030'::bytea IN c.body) = 0 THEN convert_from(c.body, 'UTF8')::jsonb END AS body
) AS told
WHERE c.accused_agency IS NULL AND c.kind <> 'conduct' AND NOT c.is_exercise AND c.state <> 'merged';

-- The clocks that ran out, one row for each. `is_over`: what it measures has been done since.
CREATE VIEW grafana.missed_deadlines AS
SELECT c.id AS case_id, c.category, c.severity, c.area, c.agency, clock.one ->> 'name' AS clock,
    (clock.one ->> 'breached_at')::timestamptz AS missed_at, clock.one ? 'stopped_at' AS is_over
FROM public.cases AS c
CROSS JOIN LATERAL jsonb_array_elements(
    CASE WHEN position('\x5c7530303030'::bytea IN c.body) = 0
        THEN coalesce(convert_from(c.body, 'UTF8')::jsonb -> 'clocks', '[]') ELSE '[]' END
) AS clock (one)
WHERE c.accused_agency IS NULL AND c.kind <> 'conduct' AND NOT c.is_exercise AND c.state <> 'merged'
    AND clock.one ? 'breached_at';

-- How the centre itself is. `is_silent`: not heard for longer than a worker that lives may be silent.
CREATE VIEW grafana.workers AS
SELECT id, state, started_at, beat_at, clock_timestamp() - beat_at > INTERVAL '6 seconds' AS is_silent FROM public.worker;

CREATE VIEW grafana.positions AS
SELECT consumer_group, topic, partition, next_offset, updated_at, caught_up_at,
    CASE WHEN watermark_s > 0 THEN to_timestamp(watermark_s) END AS event_time
FROM public.position;

-- `is_held`: committed, and not shown yet because an older transaction is still open.
CREATE VIEW grafana.changes AS
SELECT committed_at, xid >= pg_snapshot_xmin(pg_current_snapshot()) AS is_held, octet_length(touched) AS bytes
FROM public.change;

CREATE VIEW grafana.messages AS
SELECT channel, made_at, due_at, sent_at, attempts, sent_at IS NULL AND due_at = 'infinity' AS is_given_up
FROM public.outbox;

CREATE VIEW grafana.redriven_letters AS SELECT redriven_at FROM public.redriven;

CREATE VIEW grafana.timers AS SELECT name, due_at, ran_at, outcome FROM public.timer;

CREATE VIEW grafana.heard_topics AS
SELECT topic, sum(n) AS events, max(time) AS newest, max(received_at) AS heard_at FROM public.source_seen GROUP BY topic;

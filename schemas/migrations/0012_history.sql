-- How things stood: what time travel reads, and what of drills can be looked into.

-- Each case as it was from `at` until `until_at` (infinity: as it is now), as the table `cases` held it. The columns are
-- what is looked for; who may see a version is told by the case as it is now. Moments are the database's, taken while the
-- case's row is held, so that of one case they follow each other.
CREATE TABLE case_version (
    case_id   text        NOT NULL,
    at        timestamptz NOT NULL,
    until_at  timestamptz NOT NULL DEFAULT 'infinity',
    version   bigint      NOT NULL,
    kind      text        NOT NULL,
    state     text        NOT NULL,
    is_open   boolean     NOT NULL,
    category  text        NOT NULL,
    severity  text        NOT NULL,
    area      text        NOT NULL,
    agency    text,
    units     text[]      NOT NULL,
    lat       double precision,
    lon       double precision,
    opened_at timestamptz NOT NULL,
    due_at    timestamptz,
    body      bytea       NOT NULL,
    PRIMARY KEY (case_id, at, version)
);
CREATE INDEX case_version_open ON case_version USING gist (tstzrange(at, until_at)) WHERE is_open;
CREATE INDEX case_version_at ON case_version (at);
CREATE INDEX case_version_until ON case_version (until_at) WHERE until_at < 'infinity';

-- What was known of each unit, in the same way. Where it is comes far more often than anything else of it: of two places
-- less than ten seconds apart the later one is left out, and `position_at` says when each was true.
CREATE TABLE unit_version (
    unit        text        NOT NULL,
    at          timestamptz NOT NULL,
    until_at    timestamptz NOT NULL DEFAULT 'infinity',
    version     bigint      NOT NULL,
    lat         double precision,
    lon         double precision,
    position_at timestamptz,
    body        bytea       NOT NULL,
    PRIMARY KEY (unit, at)
);
CREATE INDEX unit_version_at ON unit_version (at);
CREATE INDEX unit_version_until ON unit_version (until_at) WHERE until_at < 'infinity';

-- Up to when nothing was waited for any more, as each topic was at a moment: `closed_s` in epoch seconds of event time.
-- Which buckets had closed by then follows from it.
CREATE TABLE closed_until (
    topic    text             NOT NULL,
    at       timestamptz      NOT NULL,
    closed_s double precision NOT NULL,
    PRIMARY KEY (topic, at)
);

-- Since when the past is there: of `cases`, of `units`, and of which buckets had closed (`closing`).
CREATE TABLE history_floor (
    concept text        PRIMARY KEY,
    since   timestamptz NOT NULL
);

CREATE FUNCTION keep_case_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    -- A clock that was set back must not let two versions hold at once.
    UPDATE case_version SET until_at = greatest(moment, at) WHERE case_id = NEW.id AND until_at = 'infinity'
    RETURNING until_at INTO moment;
    INSERT INTO case_version (case_id, at, version, kind, state, is_open, category, severity, area, agency, units, lat, lon,
                              opened_at, due_at, body)
    VALUES (NEW.id, coalesce(moment, clock_timestamp()), NEW.version, NEW.kind, NEW.state, NEW.is_open, NEW.category,
            NEW.severity, NEW.area, NEW.agency, NEW.units, NEW.lat, NEW.lon, NEW.opened_at, NEW.due_at, NEW.body)
    -- Changed twice at one moment of the clock: the first of the two held for no time.
    ON CONFLICT (case_id, at, version) DO UPDATE
    SET until_at = 'infinity', kind = excluded.kind, state = excluded.state, is_open = excluded.is_open,
        category = excluded.category, severity = excluded.severity, area = excluded.area, agency = excluded.agency,
        units = excluded.units, lat = excluded.lat, lon = excluded.lon, opened_at = excluded.opened_at,
        due_at = excluded.due_at, body = excluded.body;
    RETURN NULL;
END
$$;
CREATE TRIGGER keep_version AFTER INSERT ON cases FOR EACH ROW EXECUTE FUNCTION keep_case_version();
CREATE TRIGGER keep_next_version AFTER UPDATE ON cases FOR EACH ROW
    WHEN (OLD.body IS DISTINCT FROM NEW.body) EXECUTE FUNCTION keep_case_version();

CREATE FUNCTION keep_unit_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    kept   unit_version;
BEGIN
    SELECT * INTO kept FROM unit_version WHERE unit = NEW.unit AND until_at = 'infinity';
    IF FOUND THEN
        IF kept.body = NEW.body AND NEW.position_at < kept.position_at + INTERVAL '10 seconds' THEN
            RETURN NULL;
        END IF;
        moment := greatest(moment, kept.at);
        UPDATE unit_version SET until_at = moment WHERE unit = NEW.unit AND at = kept.at;
    END IF;
    INSERT INTO unit_version (unit, at, version, lat, lon, position_at, body)
    VALUES (NEW.unit, moment, NEW.version, NEW.lat, NEW.lon, NEW.position_at, NEW.body)
    ON CONFLICT (unit, at) DO UPDATE
    SET until_at = 'infinity', version = excluded.version, lat = excluded.lat, lon = excluded.lon,
        position_at = excluded.position_at, body = excluded.body;
    RETURN NULL;
END
$$;
CREATE TRIGGER keep_version AFTER INSERT OR UPDATE ON unit_state FOR EACH ROW EXECUTE FUNCTION keep_unit_version();

-- What is there already is known from now on.
INSERT INTO case_version (case_id, at, version, kind, state, is_open, category, severity, area, agency, units, lat, lon,
                          opened_at, due_at, body)
SELECT id, statement_timestamp(), version, kind, state, is_open, category, severity, area, agency, units, lat, lon,
       opened_at, due_at, body
FROM cases;
INSERT INTO unit_version (unit, at, version, lat, lon, position_at, body)
SELECT unit, statement_timestamp(), version, lat, lon, position_at, body FROM unit_state;
INSERT INTO history_floor (concept, since)
SELECT concept, statement_timestamp() FROM unnest(ARRAY['cases', 'units', 'closing']) AS known (concept);
INSERT INTO timer (name, due_at) VALUES ('history', clock_timestamp());

-- The events that count in drills. A drill corrects nothing, so whatever replaces or takes back counts not at all.
CREATE VIEW countable_drill AS
SELECT e.* FROM event AS e WHERE e.is_exercise AND NOT e.is_withdrawal;
CREATE INDEX event_drill ON event (type, window_time) WHERE is_exercise;

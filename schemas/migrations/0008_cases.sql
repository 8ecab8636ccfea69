-- What is handled: cases, the units that are sent, and the record of every decision.

-- `body` is the case as JSON (schemas.case.Case); the columns are what is looked for. `areas` is its area with all
-- ancestors, `due_at` when the next of its clocks has run out, `entries` how many lines its timeline has. Of a complaint
-- about conduct `accused_agency` is set: who belongs to that agency sees nothing of it, and nobody does but the
-- supervising agency, `agency`.
CREATE TABLE cases (
    id             text        PRIMARY KEY,
    version        bigint      NOT NULL CHECK (version > 0),
    entries        integer     NOT NULL DEFAULT 0,
    kind           text        NOT NULL,
    state          text        NOT NULL,
    is_open        boolean     NOT NULL,
    category       text        NOT NULL,
    severity       text        NOT NULL,
    area           text        NOT NULL,
    areas          text[]      NOT NULL,
    lat            double precision,
    lon            double precision,
    title          text        NOT NULL,
    agency         text,
    accused_agency text,
    units          text[]      NOT NULL,
    tracking       text[]      NOT NULL,
    merged_into    text,
    is_exercise    boolean     NOT NULL,
    is_published   boolean     NOT NULL,
    opened_at      timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    due_at         timestamptz,
    closed_at      timestamptz,
    body           bytea       NOT NULL,
    xid            xid8        NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX cases_open_due ON cases (due_at) WHERE is_open;
CREATE INDEX cases_opened_at ON cases (opened_at DESC);
CREATE INDEX cases_xid ON cases (xid, id);
CREATE INDEX cases_tracking ON cases USING gin (tracking);
CREATE INDEX cases_near ON cases (lat, lon) WHERE is_open AND lat IS NOT NULL;

-- One line for each thing that happened to a case. `body` is schemas.case.Entry as JSON.
CREATE TABLE case_entry (
    case_id     text        NOT NULL,
    number      integer     NOT NULL,
    at          timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    is_public   boolean     NOT NULL,
    body        bytea       NOT NULL,
    PRIMARY KEY (case_id, number)
);

-- To which case a kept event belongs, as it was opened, whether it is a signal of it, a command or a step; null for what
-- belongs to none, and where the site keeps no cases.
ALTER TABLE event ADD COLUMN case_id text;
CREATE INDEX event_case ON event (case_id) WHERE case_id IS NOT NULL;

-- As it was, with the new column: who may see an event depends on its case.
CREATE OR REPLACE VIEW countable_event AS
SELECT e.* FROM event AS e
WHERE NOT e.is_exercise AND NOT e.is_withdrawal
    AND NOT EXISTS (SELECT FROM event AS c WHERE c.source = e.source AND c.corrects = e.id)
    AND (e.corrects IS NULL OR NOT EXISTS (
        SELECT FROM event AS s
        WHERE s.source = e.source AND s.corrects = e.corrects AND NOT s.is_withdrawal
            AND (s.received_at, s.id COLLATE "C") > (e.received_at, e.id COLLATE "C")
    ));

-- What became of each command.
CREATE TABLE command (
    source     text        NOT NULL,
    id         text        NOT NULL,
    subject    text        NOT NULL,
    action     text        NOT NULL,
    is_applied boolean     NOT NULL,
    reason     text,
    detail     text        NOT NULL DEFAULT '',
    state      text,
    version    bigint,
    made_at    timestamptz NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, id)
);
CREATE INDEX command_subject ON command (subject, decided_at);

-- Cases that may be one, with the score and its reasons (JSON). `state`: proposed, merged or dismissed.
CREATE TABLE proposal (
    case_id  text             NOT NULL,
    other_id text             NOT NULL,
    score    double precision NOT NULL,
    reasons  bytea            NOT NULL,
    state    text             NOT NULL,
    made_at  timestamptz      NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (case_id, other_id)
);
CREATE INDEX proposal_other ON proposal (other_id);

-- What is due to happen to cases. A row is what follows from the case as it is; whoever is up turns one that is due into
-- a command, once.
CREATE TABLE deadline (
    case_id  text        NOT NULL,
    name     text        NOT NULL,
    due_at   timestamptz NOT NULL,
    fired_at timestamptz,
    PRIMARY KEY (case_id, name)
);
CREATE INDEX deadline_due ON deadline (due_at) WHERE fired_at IS NULL;

-- What is known of a unit besides the site pack. `body` is schemas.unit.UnitState as JSON, but for where it is: that is
-- in the columns, which change without a new version.
CREATE TABLE unit_state (
    unit        text        PRIMARY KEY,
    version     bigint      NOT NULL,
    status      text        NOT NULL,
    lat         double precision,
    lon         double precision,
    position_at timestamptz,
    cases       text[]      NOT NULL DEFAULT '{}',
    body        bytea       NOT NULL,
    xid         xid8        NOT NULL DEFAULT pg_current_xact_id()
);

-- Every decision, for ever. Each row's hash covers the one before it of its chain (one for each partition that cases
-- travel on), so that nothing can be changed or left out unseen. `audit_head` is where each chain stands. `body` is
-- streams.core.audit.Record as JSON; `subject` and `recorded_at` repeat what it says.
CREATE TABLE audit (
    chain       integer     NOT NULL,
    number      bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    subject     text        NOT NULL,
    body        bytea       NOT NULL,
    hash        bytea       NOT NULL,
    PRIMARY KEY (chain, number)
);
CREATE INDEX audit_subject ON audit (subject);
CREATE TABLE audit_head (
    chain  integer PRIMARY KEY,
    number bigint  NOT NULL,
    hash   bytea   NOT NULL
);
CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only ever added to';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION keep_audit();

-- What waits to be written to the log goes out in the order of coming, past all that waits for slower receivers.
CREATE INDEX outbox_log ON outbox (made_at) WHERE channel = 'kafka' AND sent_at IS NULL;

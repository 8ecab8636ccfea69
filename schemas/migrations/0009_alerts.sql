-- Alert rules: how far each has looked, what it holds, what fired, and where somebody asked for silence.

-- `looked_until` is the last step that was decided; it changes in the transaction that holds what came of it, and whoever
-- expected another one changes nothing. `leased_until` keeps others from doing the same work meanwhile.
CREATE TABLE alert_rule (
    rule         text        PRIMARY KEY,
    looked_until timestamptz NOT NULL,
    due_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased_until timestamptz,
    looked_at    timestamptz,
    outcome      text        NOT NULL DEFAULT ''
);

-- The series that are not quiet. `body` is streams.core.alert.Standing as JSON. `dim` is the value of the dimension
-- that the rule is split by, or ''.
CREATE TABLE alert_series (
    rule  text  NOT NULL,
    area  text  NOT NULL,
    dim   text  NOT NULL,
    phase text  NOT NULL CHECK (phase IN ('pending', 'firing', 'clearing')),
    body  bytea NOT NULL,
    PRIMARY KEY (rule, area, dim)
);

-- When each series fired, told or not. Rules that are inhibited by others ask here.
CREATE TABLE alert_firing (
    rule       text        NOT NULL,
    area       text        NOT NULL,
    dim        text        NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    reason     text,
    PRIMARY KEY (rule, area, dim, started_at)
);
CREATE INDEX alert_firing_open ON alert_firing (rule) WHERE ended_at IS NULL;
CREATE INDEX alert_firing_ended ON alert_firing (rule, ended_at);

-- What is told: the series of one group that fire together. `id` is the subject of its events. `body` is
-- streams.core.alert.OpenAlert as JSON, `told` the last event that was told of it.
CREATE TABLE alert (
    id         text        PRIMARY KEY,
    rule       text        NOT NULL,
    name       text        NOT NULL,
    area       text        NOT NULL,
    severity   text        NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    reason     text,
    body       bytea       NOT NULL,
    told       bytea       NOT NULL
);
CREATE UNIQUE INDEX alert_open ON alert (rule, name) WHERE ended_at IS NULL;
CREATE INDEX alert_started_at ON alert (started_at DESC);

-- Where a rule keeps silent until a moment: in an area (its code) and below it, or everywhere (null). By the command that
-- asked for it, so that the same one twice is one.
CREATE TABLE alert_silence (
    source  text        NOT NULL,
    id      text        NOT NULL,
    rule    text        NOT NULL,
    area    text,
    until   timestamptz NOT NULL,
    reason  text        NOT NULL,
    by      text        NOT NULL,
    made_at timestamptz NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX alert_silence_rule ON alert_silence (rule, until);

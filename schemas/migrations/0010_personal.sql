-- What is personal, apart from the events that it came with, under a key for each person that can be destroyed.

-- One key a person: `person` is a pseudonym (schemas.personal), `wrapped` the key, sealed under the centre's ring. Without
-- it nothing of the person can be read; it is null once it was destroyed. What the centre had taken in by `erased_at` is
-- never kept readable again, whenever it comes.
CREATE TABLE person_key (
    person    text        PRIMARY KEY,
    wrapped   text,
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased_at timestamptz
);

-- The personal part of an event. `sealed` is under the person's key; where the worker could not open what came,
-- `as_it_came` is still under the centre's ring. Both are null once the person was erased, and the row keeps a resend
-- from bringing them back.
CREATE TABLE personal (
    source      text        NOT NULL,
    id          text        NOT NULL,
    person      text,
    received_at timestamptz NOT NULL,
    sealed      bytea,
    as_it_came  text,
    PRIMARY KEY (source, id)
);
CREATE INDEX personal_person ON personal (person, received_at);

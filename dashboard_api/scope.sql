-- Who sees which case? The rule of schemas.identity.may_see, said once: a statement that holds {may_see} has it in that
-- place, about the row `c` of `cases`, and takes the actor as its first eight parameters (dashboard_api.scope).
-- $1 is the centre itself, $2 the hash of a citizen's tracking secret, $3 the person's agency, $4 further agencies and,
-- with '/' before them, those that supervise any of these (no agency's id begins so), $5 areas,
-- $6 the person's unit, $7 whether the person is in a unit and nothing else, $8 whether cases of every agency are seen.

-- may_see --
($1::boolean OR CASE
    WHEN $2::text IS NOT NULL THEN $2::text = ANY (c.tracking)
    WHEN c.accused_agency IS NOT NULL
        THEN (CASE WHEN c.agency IS NULL THEN $8::boolean ELSE coalesce(c.agency = $3::text, false) END)
            AND c.accused_agency IS DISTINCT FROM $3::text
            AND NOT (c.accused_agency = ANY ($4::text[]) OR '/' || c.accused_agency = ANY ($4::text[]))
            AND c.areas && $5::text[]
    WHEN coalesce($6::text = ANY (c.units), false) THEN true
    WHEN $7::boolean THEN false
    ELSE ($8::boolean OR c.agency IS NULL OR coalesce(c.agency = $3::text, false) OR c.agency = ANY ($4::text[]))
        AND c.areas && $5::text[]
END)

-- may_see_event --
-- About the row `e` of `event`. One that belongs to a case is seen with it; one of no case by those who work where it
-- happened, units excepted: a statement says {may_see_event $n}, and $n are all areas where the person works (null:
-- everywhere). Commands hold what people wrote: one about no case (a person, a unit, a rule) is nobody's to read in a list.
-- A report that names an accused agency is shown with a complaint alone: its case may have been split off from the one
-- that the event still stands under.
(CASE WHEN e.type = 'ioc.case.command.v1'
    THEN EXISTS (SELECT FROM cases AS c WHERE c.id = coalesce(e.case_id, e.subject) AND {may_see})
    ELSE coalesce(
        (
            SELECT {may_see} AND NOT (
                c.accused_agency IS NULL AND e.type = 'ioc.feedback.received.v1'
                AND position('"accused_agency"'::bytea IN e.body) > 0
            )
            FROM cases AS c
            WHERE c.id = coalesce(e.case_id, CASE WHEN e.type = 'ioc.case.step.v1' THEN e.subject END)
        ),
        $1::boolean OR (
            $2::text IS NULL AND NOT $7::boolean AND ({inside}::text[] IS NULL OR e.area = ANY ({inside}::text[]))
        )
    )
END)

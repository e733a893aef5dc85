-- What took a log from version 2 of the schema to version 3.
CREATE OR REPLACE FUNCTION "{schema}"."loans_lock_log"() RETURNS trigger
LANGUAGE plpgsql AS $$ BEGIN
    IF pg_catalog.pg_advisory_xact_lock((249372254::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|)
    '"{schema}"."loans"'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8) IS NOT NULL
        AND coalesce(pg_catalog.current_setting('eddyline.append.{schema}.loans', true), '')
            OPERATOR(pg_catalog.=) ''
    THEN
        IF (SELECT given.seqcycle OR given.seqincrement OPERATOR(pg_catalog.<) 1
                OR CASE WHEN last.is_called
                    THEN last.last_value OPERATOR(pg_catalog.+) 1
                    ELSE last.last_value END OPERATOR(pg_catalog.<=) coalesce(
                        (SELECT event.sequence_number FROM "{schema}"."loans" AS event
                         ORDER BY event.sequence_number DESC LIMIT 1), 0)
            FROM "{schema}"."loans_sequence" AS last CROSS JOIN pg_catalog.pg_sequence AS given
            WHERE given.seqrelid OPERATOR(pg_catalog.=)
                '"{schema}"."loans_sequence"'::pg_catalog.regclass::pg_catalog.oid)
        THEN
            RAISE EXCEPTION 'the sequence of log {schema}.loans does not go on above its events'
    USING ERRCODE = 'LE001',
    HINT = 'Run eddyline::Schema::migrate, which repairs it.';
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION "{schema}"."loans_refuse_number"() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    RAISE EXCEPTION 'log %.% numbers its events itself, one by one',
        TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'generated_always',
        HINT = 'Leave out sequence_number. The sequence must have CACHE 1.';
END $$;
DROP ROUTINE "{schema}"."loans_append";
CREATE OR REPLACE PROCEDURE "{schema}"."loans_append"(INOUT answer bigint[], known bigint, front bigint, batch bigint,
    ids uuid[], times timestamptz[], types text[], payloads jsonb[], metadatas jsonb[],
    stay boolean DEFAULT false, wait bigint DEFAULT NULL, since bigint DEFAULT NULL,
    members bigint[] DEFAULT NULL, fields text[] DEFAULT NULL, elements text[] DEFAULT NULL,
    keys text[] DEFAULT NULL, vals jsonb[] DEFAULT NULL, bodies jsonb[] DEFAULT NULL,
    kinds bigint[] DEFAULT NULL, types_of_kinds jsonb[] DEFAULT NULL,
    froms timestamptz[] DEFAULT NULL,
    untils timestamptz[] DEFAULT NULL, afters bigint[] DEFAULT NULL,
    owners bigint[] DEFAULT NULL, most bigint DEFAULT NULL)
LANGUAGE plpgsql AS $$ DECLARE
    head bigint;
    locked boolean;
    setting text;
    matched bigint[];
    firsts bigint[];
    number bigint;
    last bigint;
    numbers bigint[];
    ascends boolean := true;
    expected bigint;
BEGIN
    IF (CASE WHEN wait IS NULL AND pg_catalog.current_setting('transaction_isolation')
            OPERATOR(pg_catalog.=) 'read committed'
        THEN pg_catalog.pg_advisory_xact_lock((249372254::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|)
    '"{schema}"."loans"'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8) IS NOT NULL END) IS NOT TRUE
    THEN
        IF pg_catalog.current_setting('transaction_isolation')
            OPERATOR(pg_catalog.<>) 'read committed'
        THEN
            IF stay THEN
                RAISE EXCEPTION 'appends need the isolation READ COMMITTED'
                    USING ERRCODE = 'invalid_transaction_state';
            END IF;
            ROLLBACK;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        END IF;
        IF wait IS NOT NULL THEN
            PERFORM pg_catalog.set_config('lock_timeout', wait::pg_catalog.text, true),
                pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
                pg_catalog.set_config('enable_seqscan', 'off', true),
                pg_catalog.set_config('jit', 'off', true);
        END IF;
        locked := pg_catalog.pg_advisory_xact_lock((249372254::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|)
    '"{schema}"."loans"'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8) IS NOT NULL;
    END IF;
    head := coalesce((SELECT event.sequence_number FROM "{schema}"."loans" AS event
        ORDER BY event.sequence_number DESC LIMIT 1), 0);
    answer := ARRAY[head];
    IF since IS NULL THEN
        expected := CASE WHEN known OPERATOR(pg_catalog.<>) head
            AND (front IS NOT NULL AND pg_catalog.current_setting('eddyline.own.{schema}.loans', true)
                OPERATOR(pg_catalog.=) pg_catalog.concat(front, ':', head)) IS NOT TRUE
            THEN 0 ELSE pg_catalog.cardinality(ids) END;
    ELSIF known OPERATOR(pg_catalog.>) head
        OR head OPERATOR(pg_catalog.-) since OPERATOR(pg_catalog.>) most
    THEN
        expected := 0;
    ELSE
        expected := pg_catalog.cardinality(ids);
        IF head OPERATOR(pg_catalog.-) since OPERATOR(pg_catalog.>) 4096 THEN
            WITH newer AS MATERIALIZED (
    SELECT event.sequence_number AS number, event.event_type AS type,
        event.occurred_at AS time, event.payload AS body
    FROM "{schema}"."loans" AS event
    WHERE event.sequence_number OPERATOR(pg_catalog.>) since
    ORDER BY event.sequence_number LIMIT ALL
), fact AS MATERIALIZED (
    SELECT newer.number, coalesce(field.key, '') AS key,
        CASE WHEN field.key IS NULL THEN 'true'::pg_catalog.jsonb
            WHEN field.key OPERATOR(pg_catalog.=) '' THEN pg_catalog.to_jsonb(newer.type)
            ELSE newer.body OPERATOR(pg_catalog.->) field.key END AS val
    FROM newer CROSS JOIN pg_catalog.unnest(fields) AS field (key)
    UNION ALL
    SELECT newer.number, field.key, element.val
    FROM newer CROSS JOIN pg_catalog.unnest(elements) AS field (key)
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(
        CASE WHEN pg_catalog.jsonb_typeof(newer.body OPERATOR(pg_catalog.->) field.key)
                OPERATOR(pg_catalog.=) 'array'
            THEN newer.body OPERATOR(pg_catalog.->) field.key
            ELSE '[]' END) AS element (val)
), broken AS (
    SELECT term.owner, pg_catalog.min(newer.number) AS number
    FROM fact
    JOIN ROWS FROM (pg_catalog.unnest(keys), pg_catalog.unnest(vals),
            pg_catalog.unnest(bodies), pg_catalog.unnest(kinds), pg_catalog.unnest(froms),
            pg_catalog.unnest(untils), pg_catalog.unnest(afters), pg_catalog.unnest(owners))
        AS term (key, val, body, kind, from_time, until_time, after, owner)
        ON term.val OPERATOR(pg_catalog.=) fact.val
        AND term.key OPERATOR(pg_catalog.=) fact.key
        AND fact.number OPERATOR(pg_catalog.>) term.after
    JOIN newer ON newer.number OPERATOR(pg_catalog.=) fact.number
    WHERE (term.body IS NULL OR newer.body OPERATOR(pg_catalog.@>) term.body)
        AND (term.kind IS NULL
            OR types_of_kinds[term.kind] OPERATOR(pg_catalog.?) newer.type)
        AND (term.from_time IS NULL
            OR newer.time OPERATOR(pg_catalog.>=) term.from_time)
        AND (term.until_time IS NULL
            OR newer.time OPERATOR(pg_catalog.<=) term.until_time)
    GROUP BY term.owner
)
SELECT pg_catalog.array_agg(broken.owner), pg_catalog.array_agg(broken.number)
INTO matched, firsts FROM broken;
        ELSIF head OPERATOR(pg_catalog.>) since THEN
            WITH newer AS MATERIALIZED (
    SELECT event.sequence_number AS number, event.event_type AS type,
        event.occurred_at AS time, event.payload AS body
    FROM "{schema}"."loans" AS event
    WHERE event.sequence_number OPERATOR(pg_catalog.>) since
    ORDER BY event.sequence_number LIMIT 4096
), fact AS MATERIALIZED (
    SELECT newer.number, coalesce(field.key, '') AS key,
        CASE WHEN field.key IS NULL THEN 'true'::pg_catalog.jsonb
            WHEN field.key OPERATOR(pg_catalog.=) '' THEN pg_catalog.to_jsonb(newer.type)
            ELSE newer.body OPERATOR(pg_catalog.->) field.key END AS val
    FROM newer CROSS JOIN pg_catalog.unnest(fields) AS field (key)
    UNION ALL
    SELECT newer.number, field.key, element.val
    FROM newer CROSS JOIN pg_catalog.unnest(elements) AS field (key)
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(
        CASE WHEN pg_catalog.jsonb_typeof(newer.body OPERATOR(pg_catalog.->) field.key)
                OPERATOR(pg_catalog.=) 'array'
            THEN newer.body OPERATOR(pg_catalog.->) field.key
            ELSE '[]' END) AS element (val)
), broken AS (
    SELECT term.owner, pg_catalog.min(newer.number) AS number
    FROM fact
    JOIN ROWS FROM (pg_catalog.unnest(keys), pg_catalog.unnest(vals),
            pg_catalog.unnest(bodies), pg_catalog.unnest(kinds), pg_catalog.unnest(froms),
            pg_catalog.unnest(untils), pg_catalog.unnest(afters), pg_catalog.unnest(owners))
        AS term (key, val, body, kind, from_time, until_time, after, owner)
        ON term.val OPERATOR(pg_catalog.=) fact.val
        AND term.key OPERATOR(pg_catalog.=) fact.key
        AND fact.number OPERATOR(pg_catalog.>) term.after
    JOIN newer ON newer.number OPERATOR(pg_catalog.=) fact.number
    WHERE (term.body IS NULL OR newer.body OPERATOR(pg_catalog.@>) term.body)
        AND (term.kind IS NULL
            OR types_of_kinds[term.kind] OPERATOR(pg_catalog.?) newer.type)
        AND (term.from_time IS NULL
            OR newer.time OPERATOR(pg_catalog.>=) term.from_time)
        AND (term.until_time IS NULL
            OR newer.time OPERATOR(pg_catalog.<=) term.until_time)
    GROUP BY term.owner
)
SELECT pg_catalog.array_agg(broken.owner), pg_catalog.array_agg(broken.number)
INTO matched, firsts FROM broken;
        END IF;
        IF matched IS NOT NULL THEN
            expected := (SELECT pg_catalog.count(*)
                FROM pg_catalog.unnest(members) AS event (member)
                WHERE event.member OPERATOR(pg_catalog.<>) ALL (matched));
            answer := answer OPERATOR(pg_catalog.||) matched
                OPERATOR(pg_catalog.||) firsts;
        END IF;
    END IF;
    IF expected OPERATOR(pg_catalog.=) 1 AND pg_catalog.cardinality(ids)
            OPERATOR(pg_catalog.=) 1
        AND pg_catalog.set_config('eddyline.append.{schema}.loans', 'on', true) OPERATOR(pg_catalog.=) 'on'
    THEN
        INSERT INTO "{schema}"."loans" (event_id, occurred_at, event_type, payload, metadata)
        VALUES (ids[1], times[1], types[1], payloads[1], metadatas[1])
        RETURNING sequence_number INTO number;
        numbers := ARRAY[number];
        last := number;
    ELSIF expected OPERATOR(pg_catalog.>) 0 THEN
        setting := pg_catalog.set_config('eddyline.append.{schema}.loans', 'on', true);
        WITH stored AS (
            INSERT INTO "{schema}"."loans" (event_id, occurred_at, event_type, payload, metadata)
            SELECT id, occurred, type, body, meta
            FROM ROWS FROM (pg_catalog.unnest(ids), pg_catalog.unnest(times),
                    pg_catalog.unnest(types), pg_catalog.unnest(payloads),
                    pg_catalog.unnest(metadatas), pg_catalog.unnest(members))
                WITH ORDINALITY AS event (id, occurred, type, body, meta, member, place)
            WHERE matched IS NULL
                OR event.member OPERATOR(pg_catalog.<>) ALL (matched)
            ORDER BY place
            RETURNING sequence_number
        )
        SELECT pg_catalog.array_agg(sequence_number), pg_catalog.min(sequence_number),
            pg_catalog.max(sequence_number)
        INTO numbers, number, last FROM stored;
        ascends := number OPERATOR(pg_catalog.=) numbers[1]
            AND last OPERATOR(pg_catalog.=) numbers[expected];
    END IF;
    IF expected OPERATOR(pg_catalog.>) 0 THEN
        IF (number OPERATOR(pg_catalog.>) head AND ascends AND
            pg_catalog.cardinality(numbers) OPERATOR(pg_catalog.=) expected) IS NOT TRUE
        THEN
            IF number OPERATOR(pg_catalog.<=) head OR NOT ascends THEN
                RAISE EXCEPTION 'the sequence of log {schema}.loans does not go on above its events'
    USING ERRCODE = 'LE001',
    HINT = 'Run eddyline::Schema::migrate, which repairs it.';
            END IF;
            RAISE EXCEPTION 'a trigger kept events out of the log'
                USING ERRCODE = 'triggered_action_exception';
        END IF;
        answer := answer OPERATOR(pg_catalog.||) numbers;
        setting := CASE WHEN last OPERATOR(pg_catalog.-) head OPERATOR(pg_catalog.=) expected
                AND batch IS NOT NULL
            THEN pg_catalog.set_config('eddyline.own.{schema}.loans', pg_catalog.concat(batch, ':', last), false)
            END;
    END IF;
    IF NOT stay AND (
        pg_catalog.current_setting('synchronous_standby_names')
            OPERATOR(pg_catalog.=) ''
        OR pg_catalog.current_setting('statement_timeout') OPERATOR(pg_catalog.=) '0'
    ) THEN
        COMMIT;
    END IF;
END $$;
CREATE OR REPLACE FUNCTION "{schema}".eddyline_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    IF current_setting('eddyline.allow_changes', true) = 'on'
        AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
    THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'log %.% takes no %', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state',
        HINT = 'Its owner may, after SET eddyline.allow_changes = ''on''.';
END $$;
CREATE OR REPLACE TRIGGER "loans_lock_log" BEFORE INSERT ON "{schema}"."loans"
        FOR EACH STATEMENT EXECUTE FUNCTION "{schema}"."loans_lock_log"();
    ALTER TABLE "{schema}"."loans" ENABLE TRIGGER "loans_lock_log";
CREATE OR REPLACE TRIGGER "loans_refuse_number" BEFORE INSERT ON "{schema}"."loans"
        FOR EACH ROW WHEN (NEW.sequence_number IS DISTINCT FROM pg_sequence_last_value('"{schema}"."loans_sequence"')) EXECUTE FUNCTION "{schema}"."loans_refuse_number"();
    ALTER TABLE "{schema}"."loans" ENABLE TRIGGER "loans_refuse_number";
UPDATE "{schema}".eddyline_schema SET version = 3;

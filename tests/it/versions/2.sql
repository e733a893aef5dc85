-- What took a log from version 1 of the schema to version 2.
DROP INDEX "{schema}"."loans_event_type_idx";
CREATE INDEX "loans_event_type_idx" ON "{schema}"."loans" (event_type, sequence_number);
ALTER TABLE "{schema}"."loans" SET (autovacuum_freeze_min_age = 0,
    autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.02);
CREATE OR REPLACE FUNCTION "{schema}".eddyline_lock_log() RETURNS trigger
LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock((249372254::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32)
    OPERATOR(pg_catalog.|) TG_RELID::pg_catalog.int8);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION "{schema}"."loans_append"(known bigint, ids uuid[], times timestamptz[], types text[],
    payloads jsonb[], metadatas jsonb[], members bigint[] DEFAULT NULL, fields text[] DEFAULT NULL,
    keys text[] DEFAULT NULL, vals jsonb[] DEFAULT NULL, afters bigint[] DEFAULT NULL,
    owners bigint[] DEFAULT NULL, since bigint DEFAULT NULL)
RETURNS bigint[] LANGUAGE plpgsql AS $$ DECLARE
    head bigint;
    matched bigint[];
    number bigint;
    numbers bigint[];
    expected bigint := pg_catalog.cardinality(ids);
BEGIN
    IF pg_catalog.current_setting('transaction_isolation')
        OPERATOR(pg_catalog.<>) 'read committed'
    THEN
        RAISE EXCEPTION 'appends need the isolation READ COMMITTED'
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock((249372254::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32)
    OPERATOR(pg_catalog.|)
        '"{schema}"."loans"'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8);
    IF since IS NULL AND known OPERATOR(pg_catalog.=)
        pg_catalog.pg_sequence_last_value('"{schema}"."loans_sequence"'::pg_catalog.regclass)
    THEN
        head := known;
    ELSE
        head := coalesce((SELECT event.sequence_number FROM "{schema}"."loans" AS event
            ORDER BY event.sequence_number DESC LIMIT 1), 0);
    END IF;
    IF expected OPERATOR(pg_catalog.=) 0 THEN
        RETURN ARRAY[head];
    ELSIF since IS NULL THEN
        IF known OPERATOR(pg_catalog.<) 0 THEN
            known := pg_catalog.currval('"{schema}"."loans_sequence"'::pg_catalog.regclass);
        END IF;
        IF known OPERATOR(pg_catalog.<>) head THEN
            RETURN ARRAY[head];
        END IF;
    ELSIF known OPERATOR(pg_catalog.>) head
        OR head OPERATOR(pg_catalog.-) since OPERATOR(pg_catalog.>) 4096
    THEN
        RETURN ARRAY[head];
    ELSIF head OPERATOR(pg_catalog.>) since THEN
        SELECT pg_catalog.array_agg(DISTINCT demand.owner) INTO matched
        FROM (
            SELECT news.number, field.key,
                CASE WHEN field.key OPERATOR(pg_catalog.=) ''
                    THEN pg_catalog.to_jsonb(news.type)
                    ELSE news.body OPERATOR(pg_catalog.->) field.key END AS val
            FROM (
                SELECT event.sequence_number AS number, event.event_type AS type,
                    event.payload AS body
                FROM "{schema}"."loans" AS event
                WHERE event.sequence_number OPERATOR(pg_catalog.>) since
                ORDER BY event.sequence_number LIMIT 4096
            ) AS news
            CROSS JOIN pg_catalog.unnest(fields) AS field (key)
            OFFSET 0
        ) AS fact
        JOIN ROWS FROM (pg_catalog.unnest(keys), pg_catalog.unnest(vals),
                pg_catalog.unnest(afters), pg_catalog.unnest(owners))
            AS demand (key, val, after, owner)
            ON demand.val OPERATOR(pg_catalog.=) fact.val
            AND demand.key OPERATOR(pg_catalog.=) fact.key
            AND fact.number OPERATOR(pg_catalog.>) demand.after;
        IF matched IS NOT NULL THEN
            expected := (SELECT pg_catalog.count(*)
                FROM pg_catalog.unnest(members) AS event (member)
                WHERE event.member OPERATOR(pg_catalog.<>) ALL (matched));
            IF expected OPERATOR(pg_catalog.=) 0 THEN
                RETURN head OPERATOR(pg_catalog.||) matched;
            END IF;
        END IF;
    END IF;
    IF pg_catalog.cardinality(ids) OPERATOR(pg_catalog.=) 1 THEN
        INSERT INTO "{schema}"."loans" (event_id, occurred_at, event_type, payload, metadata)
        VALUES (ids[1], times[1], types[1], payloads[1], metadatas[1])
        RETURNING sequence_number INTO number;
        numbers := CASE WHEN number IS NOT NULL THEN ARRAY[number] END;
    ELSE
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
        SELECT pg_catalog.array_agg(sequence_number) INTO numbers FROM stored;
    END IF;
    IF pg_catalog.cardinality(numbers) IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'a trigger kept events out of the log'
            USING ERRCODE = 'triggered_action_exception';
    END IF;
    RETURN head OPERATOR(pg_catalog.||) numbers OPERATOR(pg_catalog.||) matched;
END $$;
UPDATE "{schema}".eddyline_schema SET version = 2;

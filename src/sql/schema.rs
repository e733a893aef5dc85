use super::lock::LOCK_CLASS;
use super::objects::Routine;
use super::table::sequence_name;
use crate::log::LogName;

/// The version of the schema that this crate works with.
pub(crate) const VERSION: i32 = 2;

/// Renders the preparation of a migration, to run in its transaction: the lock that lets one
/// process migrate at a time, and the table of versions.
pub(crate) fn prepare(log: &LogName) -> String {
    let schema = log.schema();
    // To ask before creating lets a role without the right to create find all done already.
    format!(
        "SET LOCAL statement_timeout = 0;
         SET LOCAL lock_timeout = 0;
         DO $$ BEGIN
             PERFORM pg_advisory_xact_lock({LOCK_CLASS}::bigint << 32);
             IF to_regnamespace('\"{schema}\"') IS NULL THEN
                 CREATE SCHEMA \"{schema}\";
             END IF;
             IF to_regclass('\"{schema}\".eddyline_schema') IS NULL THEN
                 CREATE TABLE \"{schema}\".eddyline_schema (
                     log text PRIMARY KEY,
                     version integer NOT NULL,
                     migrated_at timestamptz NOT NULL DEFAULT now()
                 );
             END IF;
         END $$"
    )
}

/// Renders the note that a log is of the newest version.
pub(crate) fn set_version(log: &LogName) -> String {
    let (schema, name) = (log.schema(), log.log());
    format!(
        "INSERT INTO \"{schema}\".eddyline_schema (log, version) VALUES ('{name}', {VERSION})
         ON CONFLICT (log) DO UPDATE SET version = EXCLUDED.version, migrated_at = now()"
    )
}

/// Renders what a log of this version (of none, if it is new) needs besides its objects.
///
/// Nothing is ever changed, so that what vacuum finds it may freeze at once; else the whole log
/// would be read and written again, all at a time, when its transactions grow old. What the planner
/// knows of types and payloads is not to be older than a fiftieth of the log. An owner may set
/// something else afterwards.
pub(crate) fn settings(log: &LogName, version: Option<i32>) -> Option<String> {
    let sets_autovacuum = version.is_none_or(|version| version < 2);
    sets_autovacuum.then(|| {
        format!(
            "ALTER TABLE {} SET (autovacuum_freeze_min_age = 0,
                 autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.02)",
            log.table()
        )
    })
}

/// Renders the rights of a role that reads, and of one that appends as well. The role is made
/// where there is none; a race with another database that makes it too is no fault.
pub(crate) fn grants(log: &LogName, role: &str, appends: bool) -> String {
    let (schema, table) = (log.schema(), log.table());
    let mut grants = format!(
        "DO $$ BEGIN
             IF to_regrole('\"{role}\"') IS NULL THEN
                 CREATE ROLE \"{role}\" NOLOGIN;
             END IF;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN
             NULL;
         END $$;
         GRANT USAGE ON SCHEMA \"{schema}\" TO \"{role}\";
         GRANT SELECT ON {table}, \"{schema}\".eddyline_schema TO \"{role}\""
    );
    if appends {
        let (sequence, function) = (sequence_name(log), log.append_function());
        grants += &format!(
            ";
             GRANT EXECUTE ON FUNCTION {function} TO \"{role}\";
             GRANT INSERT (event_id, occurred_at, event_type, payload, metadata) ON {table}
                 TO \"{role}\";
             GRANT SELECT ON SEQUENCE {sequence} TO \"{role}\""
        );
    }
    grants
}

/// Lists the functions of a log.
pub(crate) fn routines(log: &LogName) -> Vec<Routine> {
    let schema = log.schema();
    let key = format!(
        "({LOCK_CLASS}::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32)
             OPERATOR(pg_catalog.|)"
    );
    let shared = |name: &str, create| Routine { name: name.to_owned(), create, is_shared: true };
    vec![
        shared(
            "eddyline_lock_log",
            format!(
                "CREATE OR REPLACE FUNCTION \"{schema}\".eddyline_lock_log() RETURNS trigger
         LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_catalog.pg_advisory_xact_lock({key} TG_RELID::pg_catalog.int8);
             RETURN NULL;
         END $$"
            ),
        ),
        shared(
            "eddyline_refuse_number",
            format!(
                "CREATE OR REPLACE FUNCTION \"{schema}\".eddyline_refuse_number() RETURNS trigger
         LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
             RAISE EXCEPTION 'log %.% numbers its events itself', TG_TABLE_SCHEMA, TG_TABLE_NAME
                 USING ERRCODE = 'generated_always', HINT = 'Leave out sequence_number.';
         END $$"
            ),
        ),
        shared(
            "eddyline_refuse_change",
            format!(
                "CREATE OR REPLACE FUNCTION \"{schema}\".eddyline_refuse_change() RETURNS trigger
         LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
             IF current_setting('eddyline.allow_changes', true) = 'on'
                 AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
             THEN
                 RETURN NULL;
             END IF;
             RAISE EXCEPTION 'log %.% takes no %', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
                 USING ERRCODE = 'object_not_in_prerequisite_state',
                 HINT = 'Its owner may, after SET eddyline.allow_changes = ''on''.';
         END $$"
            ),
        ),
        Routine {
            name: format!("{}_append", log.log()),
            create: append(log, &key),
            is_shared: false,
        },
    ]
}

/// The function stores events whose conditions the caller has judged against a stretch of the log
/// that it knows, if the log still ends where that stretch does. Or it is told, of each attempt, what
/// no event may have that came after a position, and leaves out those of which one has: a value
/// under a key of its payload, or its type, for which the empty key stands that no predicate has.
/// That is a join by hash of whole values, over as many events as can be looked through while
/// everybody waits; where there are more, nothing is stored. The limit is there for the planner, which
/// would else expect a third of the log.
///
/// Each statement of a volatile function sees what was committed before it, at READ COMMITTED and
/// under no other isolation: so the end that it reads is the one under the lock that it took before,
/// and nothing that came later is overlooked. A single row goes without the sort, and a fifth faster.
fn append(log: &LogName, key: &str) -> String {
    let (table, function, sequence) = (log.table(), log.append_function(), sequence_name(log));
    format!("CREATE OR REPLACE FUNCTION {function}(known bigint, ids uuid[], times timestamptz[], types text[],
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
             PERFORM pg_catalog.pg_advisory_xact_lock({key}
                 '{table}'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8);
             IF since IS NULL AND known OPERATOR(pg_catalog.=)
                 pg_catalog.pg_sequence_last_value('{sequence}'::pg_catalog.regclass)
             THEN
                 head := known;
             ELSE
                 head := coalesce((SELECT event.sequence_number FROM {table} AS event
                     ORDER BY event.sequence_number DESC LIMIT 1), 0);
             END IF;
             IF expected OPERATOR(pg_catalog.=) 0 THEN
                 RETURN ARRAY[head];
             ELSIF since IS NULL THEN
                 IF known OPERATOR(pg_catalog.<) 0 THEN
                     known := pg_catalog.currval('{sequence}'::pg_catalog.regclass);
                 END IF;
                 IF known OPERATOR(pg_catalog.<>) head THEN
                     RETURN ARRAY[head];
                 END IF;
             ELSIF known OPERATOR(pg_catalog.>) head
                 OR head OPERATOR(pg_catalog.-) since OPERATOR(pg_catalog.>) {MOST_NEWS}
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
                         FROM {table} AS event
                         WHERE event.sequence_number OPERATOR(pg_catalog.>) since
                         ORDER BY event.sequence_number LIMIT {MOST_NEWS}
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
                 INSERT INTO {table} (event_id, occurred_at, event_type, payload, metadata)
                 VALUES (ids[1], times[1], types[1], payloads[1], metadatas[1])
                 RETURNING sequence_number INTO number;
                 numbers := CASE WHEN number IS NOT NULL THEN ARRAY[number] END;
             ELSE
                 WITH stored AS (
                     INSERT INTO {table} (event_id, occurred_at, event_type, payload, metadata)
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
         END $$")
}

/// How many events are looked through at most, while everybody waits, for what attempts may be about.
const MOST_NEWS: u32 = 4_096;

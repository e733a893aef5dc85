use super::lock::lock_key;
use super::newer::first_matches;
use super::plan::StatementPlan;
use crate::log_name::{LogName, SEQUENCE_BEHIND};

/// How many events above a condition's position the procedure reads at most while it holds the log's
/// lock, unless the caller allows for more. A condition from before that is searched for outside of the
/// lock first.
const MAX_NEWER_EVENTS: u32 = 4_096;

/// With how many keys or values each event may be compared before fewer of them are read.
const FREE_COMPARISONS: i64 = 16;

/// Returns how many events the procedure reads, at most, for conditions of which each event is compared with
/// so many keys or values, and of which one was refused so often because too many events lay above its
/// position.
///
/// Whoever appends much may always append more than the procedure reads while a condition is searched
/// for. The growth is so fast that a condition is validated after a few rounds, and the work under the
/// lock stays within what others have just appended.
pub(super) fn max_newer_events(comparisons: usize, refusals: u32) -> i64 {
    let comparisons = i64::try_from(comparisons).unwrap_or(i64::MAX).max(FREE_COMPARISONS);
    let most = i64::from(MAX_NEWER_EVENTS) * FREE_COMPARISONS / comparisons;
    let growth = 16i64.checked_pow(refusals).unwrap_or(i64::MAX);
    most.max(1).saturating_mul(growth)
}

/// Names the setting that marks a transaction whose numbers the append procedure checks.
fn mark(log: &LogName) -> String {
    format!("eddyline.append.{}.{}", log.schema(), log.log())
}

/// Names the setting that tells which batch a session has appended last, and the position of its last event,
/// if no other number lies between the head before and that position. It is rolled back with the batch.
fn own_setting(log: &LogName) -> String {
    format!("eddyline.own.{}.{}", log.schema(), log.log())
}

/// Renders the function of the trigger that fires before each statement that inserts events.
///
/// It fires before the first row, and with it the first number, is made. So it is early enough to take
/// the lock under which numbers are given in commit order, and to check that the next number lies above
/// the head. The append procedure checks its numbers itself. Mark and lock end together, with the
/// transaction or with the savepoint that is rolled back. An expression with a query takes an executor,
/// even if the query is not reached, so that it stands apart.
///
/// Everything is named by its schema, so that the function needs no search path of its own, whose
/// setting and resetting took longer than the lock.
pub(super) fn lock_log(log: &LogName) -> String {
    let (schema, name, table, sequence) = (log.schema(), log.log(), log.table(), log.sequence());
    let (key, mark, refusal) = (lock_key(log), mark(log), sequence_behind(log));
    format!(
        "CREATE OR REPLACE FUNCTION \"{schema}\".\"{name}_lock_log\"() RETURNS trigger
         LANGUAGE plpgsql AS $$ BEGIN
             IF pg_catalog.pg_advisory_xact_lock({key}) IS NOT NULL
                 AND coalesce(pg_catalog.current_setting('{mark}', true), '')
                     OPERATOR(pg_catalog.=) ''
             THEN
                 IF (SELECT given.seqcycle OR given.seqincrement OPERATOR(pg_catalog.<) 1
                         OR CASE WHEN last.is_called
                             THEN last.last_value OPERATOR(pg_catalog.+) 1
                             ELSE last.last_value END OPERATOR(pg_catalog.<=) coalesce(
                                 (SELECT event.sequence_number FROM {table} AS event
                                  ORDER BY event.sequence_number DESC LIMIT 1), 0)
                     FROM {sequence} AS last CROSS JOIN pg_catalog.pg_sequence AS given
                     WHERE given.seqrelid OPERATOR(pg_catalog.=)
                         '{sequence}'::pg_catalog.regclass::pg_catalog.oid)
                 THEN
                     {refusal};
                 END IF;
             END IF;
             RETURN NULL;
         END $$"
    )
}

/// Renders the function of the trigger that refuses a row by its number. Its condition, evaluated for
/// each row, is [`is_refused`].
pub(super) fn refuse_number(log: &LogName) -> String {
    let (schema, name) = (log.schema(), log.log());
    format!(
        "CREATE OR REPLACE FUNCTION \"{schema}\".\"{name}_refuse_number\"() RETURNS trigger
         LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
             RAISE EXCEPTION 'log %.% numbers its events itself, one by one',
                 TG_TABLE_SCHEMA, TG_TABLE_NAME
                 USING ERRCODE = 'generated_always',
                 HINT = 'Leave out sequence_number. The sequence must have CACHE 1.';
         END $$"
    )
}

/// Renders the condition on which a row is refused: its number is not the one that the sequence gave
/// last. `COPY` and `OVERRIDING SYSTEM VALUE` bring their own, and a cached one is older. The server
/// parses the condition for each statement, which takes longer than to evaluate it.
pub(super) fn is_refused(log: &LogName) -> String {
    format!("NEW.sequence_number IS DISTINCT FROM pg_sequence_last_value('{}')", log.sequence())
}

/// Renders the refusal of a number that does not lie above the head.
fn sequence_behind(log: &LogName) -> String {
    format!(
        "RAISE EXCEPTION 'the sequence of log {log} does not go on above its events'
             USING ERRCODE = '{SEQUENCE_BEHIND}',
             HINT = 'Run eddyline::Schema::migrate, which repairs it.'"
    )
}

/// Renders the procedure that appends events in a transaction of its own.
///
/// All arguments have arrived before it runs, it takes the lock first, and it commits before it
/// returns: no byte is awaited from the client while the lock is held. At READ COMMITTED each
/// statement of a procedure has a snapshot of its own, so those after the lock see every event that was
/// committed before (Lemma 2).
///
/// A commit that waits for a synchronous standby must not be canceled: PostgreSQL would answer it as
/// done. So if a statement timeout could do that, the procedure leaves the commit to the end of the
/// request, which no statement timeout limits. A cancel that arrives in the middle of any other commit
/// is answered as an error although the events are stored.
///
/// A call without events appends nothing, and makes a connection ready: it plans what others run.
///
/// A batch that was sent before the one in front of it was answered may follow that one (`front`,
/// Lemma 4), unless a trigger of the owner's may have inserted an event before the last one of that.
///
/// A single row goes without the sort, and a fifth faster. An assignment is evaluated without an
/// executor, which PERFORM is not. Each expression is made ready anew in each transaction, so that there
/// are few.
pub(super) fn append(log: &LogName) -> String {
    let (procedure, table) = (log.append_procedure(), log.table());
    let (key, mark, own) = (lock_key(log), mark(log), own_setting(log));
    let refusal = sequence_behind(log);
    let (plan_cache_mode, generic) = StatementPlan::Generic.setting();
    let matches = first_matches(log, Some(MAX_NEWER_EVENTS));
    let all_matches = first_matches(log, None);
    format!(
        "CREATE OR REPLACE PROCEDURE {procedure}(INOUT answer bigint[], known bigint, front bigint, batch bigint,
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
                 THEN pg_catalog.pg_advisory_xact_lock({key}) IS NOT NULL END) IS NOT TRUE
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
                         pg_catalog.set_config('{plan_cache_mode}', '{generic}', true),
                         pg_catalog.set_config('enable_seqscan', 'off', true),
                         pg_catalog.set_config('jit', 'off', true);
                 END IF;
                 locked := pg_catalog.pg_advisory_xact_lock({key}) IS NOT NULL;
             END IF;
             head := coalesce((SELECT event.sequence_number FROM {table} AS event
                 ORDER BY event.sequence_number DESC LIMIT 1), 0);
             answer := ARRAY[head];
             IF since IS NULL THEN
                 expected := CASE WHEN known OPERATOR(pg_catalog.<>) head
                     AND (front IS NOT NULL AND pg_catalog.current_setting('{own}', true)
                         OPERATOR(pg_catalog.=) pg_catalog.concat(front, ':', head)) IS NOT TRUE
                     THEN 0 ELSE pg_catalog.cardinality(ids) END;
             ELSIF known OPERATOR(pg_catalog.>) head
                 OR head OPERATOR(pg_catalog.-) since OPERATOR(pg_catalog.>) most
             THEN
                 expected := 0;
             ELSE
                 expected := pg_catalog.cardinality(ids);
                 IF head OPERATOR(pg_catalog.-) since OPERATOR(pg_catalog.>) {MAX_NEWER_EVENTS} THEN
                     {all_matches};
                 ELSIF head OPERATOR(pg_catalog.>) since THEN
                     {matches};
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
                 AND pg_catalog.set_config('{mark}', 'on', true) OPERATOR(pg_catalog.=) 'on'
             THEN
                 INSERT INTO {table} (event_id, occurred_at, event_type, payload, metadata)
                 VALUES (ids[1], times[1], types[1], payloads[1], metadatas[1])
                 RETURNING sequence_number INTO number;
                 numbers := ARRAY[number];
                 last := number;
             ELSIF expected OPERATOR(pg_catalog.>) 0 THEN
                 setting := pg_catalog.set_config('{mark}', 'on', true);
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
                         {refusal};
                     END IF;
                     RAISE EXCEPTION 'a trigger kept events out of the log'
                         USING ERRCODE = 'triggered_action_exception';
                 END IF;
                 answer := answer OPERATOR(pg_catalog.||) numbers;
                 setting := CASE WHEN last OPERATOR(pg_catalog.-) head OPERATOR(pg_catalog.=) expected
                         AND batch IS NOT NULL
                     THEN pg_catalog.set_config('{own}', pg_catalog.concat(batch, ':', last), false)
                     END;
             END IF;
             IF NOT stay AND (
                 pg_catalog.current_setting('synchronous_standby_names')
                     OPERATOR(pg_catalog.=) ''
                 OR pg_catalog.current_setting('statement_timeout') OPERATOR(pg_catalog.=) '0'
             ) THEN
                 COMMIT;
             END IF;
         END $$"
    )
}

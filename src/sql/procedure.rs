use super::epoch;
use super::lock::lock_key;
use super::newer::first_matches;
use super::plan::StatementPlan;
use crate::log_name::{LogName, SEQUENCE_BEHIND};

/// The most events above a condition's position that the procedure reads under the log's lock,
/// unless the caller allows more. An older condition is first validated by a search outside of the
/// lock.
const MAX_NEWER_EVENTS: u32 = 4_096;

/// The number of keys or values with which each event may be compared before fewer events are read.
const FREE_COMPARISONS: i64 = 16;

/// Returns the most events that the procedure reads for conditions whose keys or values need this
/// number of comparisons with each event. `refusals` counts how often one of the conditions was
/// refused because too many events lay above its position.
///
/// During the search for a condition other processes may always append more events than the
/// procedure reads. The limit grows so fast that the condition is validated after a few rounds. The
/// work under the lock then stays within the number of events that those processes have just
/// appended.
pub(super) fn max_newer_events(comparisons: usize, refusals: u32) -> i64 {
    let comparisons = i64::try_from(comparisons).unwrap_or(i64::MAX).max(FREE_COMPARISONS);
    let most = i64::from(MAX_NEWER_EVENTS) * FREE_COMPARISONS / comparisons;
    let growth = 16i64.checked_pow(refusals).unwrap_or(i64::MAX);
    most.max(1).saturating_mul(growth)
}

/// Returns the name of the setting that marks a transaction whose numbers the append procedure
/// checks.
fn mark(log: &LogName) -> String {
    format!("eddyline.append.{}.{}", log.schema(), log.log())
}

/// Renders the name of the setting with the number of the session's last batch and the position of
/// that batch's last event (Lemma 4). It is set only if no other number lies between the head
/// before the batch and that position. It is rolled back with the batch.
fn last_batch_setting(log: &LogName) -> String {
    epoch::setting_of_table("own", log)
}

/// Renders the function of the trigger that runs before each statement which inserts events
/// (Lemma 1).
///
/// It runs before the first row, and so before the sequence gives the first number. This is early
/// enough to take the lock under which numbers are given in commit order, and to check that the
/// next number lies above the head. The append procedure checks its numbers itself and sets a mark,
/// which skips the check here. The mark and the lock end together: with the transaction, or when a
/// savepoint is rolled back. An expression with a query needs an executor even if the query is not
/// evaluated. For that reason the check stands in an IF of its own.
///
/// All names are qualified, so that the function needs no search path of its own: setting and
/// resetting it took longer than the lock.
pub(super) fn lock_log(log: &LogName) -> String {
    let (schema, name, table, sequence) = (log.schema(), log.log(), log.table(), log.sequence());
    let (key, mark, refusal) = (lock_key(log), mark(log), sequence_behind(log));
    let epoch = epoch::epoch(log);
    format!(
        "CREATE OR REPLACE FUNCTION \"{schema}\".\"{name}_lock_log\"() RETURNS trigger
         LANGUAGE plpgsql AS $$ BEGIN
             IF pg_catalog.pg_advisory_xact_lock({key}) IS NOT NULL
                 AND coalesce(pg_catalog.current_setting('{mark}', true), '')
                     OPERATOR(pg_catalog.=) ''
             THEN
                 IF ({epoch}) IS NOT NULL AND (SELECT given.seqcycle OR given.seqincrement OPERATOR(pg_catalog.<) 1
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

/// Renders the function of the trigger that refuses a row because of its number (Lemma 1). The
/// condition of the trigger is [`is_refused`].
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

/// Renders the condition under which a row is refused: its number is not the last one that the
/// sequence gave. `COPY` and `OVERRIDING SYSTEM VALUE` supply other numbers, and a number from the
/// cache of a sequence is older. The server parses the condition for each statement, which takes
/// longer than evaluating it.
pub(super) fn is_refused(log: &LogName) -> String {
    format!("NEW.sequence_number IS DISTINCT FROM pg_sequence_last_value('{}')", log.sequence())
}

/// Renders the error for a number that does not lie above the head (Lemma 1).
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
/// returns. So the server waits for no byte from the client while the lock is held. At READ
/// COMMITTED each statement of a procedure has a snapshot of its own, so the statements after the
/// lock see every event that was committed before (Lemma 2).
///
/// The precondition is one of these: the head is `known` (Lemma 3); the last event of the
/// predecessor, the batch with the number `front`, is the head (Lemma 4); no event above `since`
/// breaks a condition (Lemma 2). In addition, the current epoch is each of `epochs`, those of the
/// positions up to which the conditions were validated (Lemma 8). The predecessor does not count if
/// a trigger of the log's owner may have inserted an event before its last one.
///
/// A commit that waits for a synchronous standby must not be canceled: PostgreSQL would report it
/// as done. If a statement timeout could cancel it, the procedure leaves the commit to the end of
/// the request, which no statement timeout limits. A cancel that arrives during any other commit is
/// answered by an error although the events are stored.
///
/// A call without events appends nothing. It warms a connection up: the server plans the
/// statements.
///
/// Performance: a single row is inserted without the sort, which is a fifth faster. An assignment
/// is evaluated without an executor, and PERFORM with one. The server prepares each expression
/// again in each transaction, so there are few.
pub(super) fn append(log: &LogName) -> String {
    let (procedure, table) = (log.append_procedure(), log.table());
    let (key, mark, last_batch) = (lock_key(log), mark(log), last_batch_setting(log));
    let (refusal, epoch) = (sequence_behind(log), epoch::epoch_of_call(log));
    let (plan_cache_mode, generic) = StatementPlan::Generic.setting();
    let matches = first_matches(log, Some(MAX_NEWER_EVENTS));
    let all_matches = first_matches(log, None);
    format!(
        "CREATE OR REPLACE PROCEDURE {procedure}(INOUT answer bigint[], INOUT epoch uuid, known bigint, front bigint, batch bigint,
             ids uuid[], times timestamptz[], types text[], payloads jsonb[], metadatas jsonb[],
             stay boolean DEFAULT false, wait bigint DEFAULT NULL, since bigint DEFAULT NULL,
             members bigint[] DEFAULT NULL, fields text[] DEFAULT NULL, elements text[] DEFAULT NULL,
             keys text[] DEFAULT NULL, vals jsonb[] DEFAULT NULL, bodies jsonb[] DEFAULT NULL,
             kinds bigint[] DEFAULT NULL, types_of_kinds jsonb[] DEFAULT NULL,
             froms timestamptz[] DEFAULT NULL,
             untils timestamptz[] DEFAULT NULL, afters bigint[] DEFAULT NULL,
             owners bigint[] DEFAULT NULL, most bigint DEFAULT NULL, epochs uuid[] DEFAULT NULL)
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
             epoch := {epoch};
             head := coalesce((SELECT event.sequence_number FROM {table} AS event
                 ORDER BY event.sequence_number DESC LIMIT 1), 0);
             answer := ARRAY[head];
             IF since IS NULL THEN
                 expected := CASE WHEN epoch OPERATOR(pg_catalog.<>) ANY (epochs)
                     OR known OPERATOR(pg_catalog.<>) head
                     AND (front IS NOT NULL AND pg_catalog.current_setting({last_batch}, true)
                         OPERATOR(pg_catalog.=) pg_catalog.concat(front, ':', head)) IS NOT TRUE
                     THEN 0 ELSE pg_catalog.cardinality(ids) END;
             ELSIF known OPERATOR(pg_catalog.>) head
                 OR head OPERATOR(pg_catalog.-) since OPERATOR(pg_catalog.>) most
                 OR epoch OPERATOR(pg_catalog.<>) ANY (epochs)
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
                     THEN pg_catalog.set_config({last_batch}, pg_catalog.concat(batch, ':', last), false)
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

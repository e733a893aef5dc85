//! Appends beside other writers: the server validates all conditions of a batch at once.

use eddyline::filter::FilterBuilder;
use eddyline::{AppendCondition, Error, Filter, SequenceNumber};
use futures_util::future::join_all;
use serde_json::json;
use tokio_postgres::types::ToSql;

use super::{Fixture, Outcome};
use crate::support::{connect, lent, loans_of, wait_for_lock_waiters};

/// A kind of condition, with an event that breaks it and one that does not.
struct Kind {
    filter: FilterBuilder,
    breaks: (&'static str, &'static str),
    does_not_break: (&'static str, &'static str),
}

fn kind(
    filter: FilterBuilder,
    breaks: (&'static str, &'static str),
    does_not_break: (&'static str, &'static str),
) -> Kind {
    Kind { filter, breaks, does_not_break }
}

fn kinds() -> Vec<Kind> {
    let inner = json!({ "c": 1 });
    vec![
        kind(Filter::types(["A"]), ("A", "{}"), ("B", r#"{"": "A"}"#)),
        kind(Filter::any_of([("a", "x")]), ("B", r#"{"a": "\u0078"}"#), ("B", r#"{"a": "y"}"#)),
        kind(Filter::any_of([("a", 1)]), ("B", r#"{"a": 10e-1}"#), ("B", r#"{"a": "1"}"#)),
        kind(Filter::any_of([("a", true)]), ("B", r#"{"a": true}"#), ("B", r#"{"a": false}"#)),
        kind(Filter::any_of([("a", json!(null))]), ("B", r#"{"a": null}"#), ("B", "{}")),
        kind(Filter::any_of([("b", &inner)]), ("B", r#"{"b": {"c": 1}}"#), ("B", r#"{"b": 1}"#)),
        kind(Filter::any_of([("é\"", "ß\\")]), ("B", r#"{"é\"": "ß\\"}"#), ("B", r#"{"é": 1}"#)),
        kind(
            Filter::types(["A"]).any_of([("a", 1)]),
            ("A", r#"{"a": 1, "b": 2}"#),
            ("B", r#"{"a": 1}"#),
        ),
        kind(
            Filter::all_of([("a", 1), ("b", 2)]),
            ("B", r#"{"a": 1, "b": 2}"#),
            ("B", r#"{"a": 1, "b": 3}"#),
        ),
        kind(
            Filter::types(["A"]).or(Filter::types(["B"]).any_of([("a", 1)])),
            ("B", r#"{"a": 1}"#),
            ("B", r#"{"a": 2}"#),
        ),
        kind(
            Filter::any_of([("a", 1), ("a", 2), ("b", 1)]),
            ("B", r#"{"a": 3, "b": 1}"#),
            ("B", r#"{"a": 3, "b": 2}"#),
        ),
    ]
}

impl Fixture {
    /// Appends on the condition that no event after a position matches. Returns whether one does.
    async fn is_broken(&self, filter: Filter, known: SequenceNumber) -> bool {
        let condition = AppendCondition::no_match_after(filter, known);
        match self.store.append([lent("b-2", "r-1")], condition).await {
            Ok(_) => false,
            Err(Error::Conflict { .. }) => true,
            outcome => panic!("{outcome:?}"),
        }
    }

    /// Makes two appends with a condition of the filter, and seven with unrelated conditions, while
    /// another session appends an event. Returns the position of that event, the outcomes of the
    /// two appends, and how many transactions stored the unrelated ones.
    async fn append_beside_other_writer(
        &self,
        filter: &FilterBuilder,
        (event_type, payload): (&str, &str),
    ) -> (SequenceNumber, [Outcome; 2], i64) {
        let known = self.store.head().await.unwrap();
        let first = self.begin_blocked("b-0").await;
        let insert = format!(
            "INSERT INTO {} (event_id, occurred_at, event_type, payload)
             VALUES (gen_random_uuid(), now(), $1, $2::text::jsonb)",
            self.log.name
        );
        self.holder.execute(&insert, &[&event_type, &payload]).await.unwrap();
        let foreign = self.store.head().await.unwrap();
        let mut begun = Vec::new();
        for number in 0..9 {
            let book = format!("b-{known}-{number}");
            let filter = match number {
                4 | 7 => filter.clone().build().unwrap(),
                _ => loans_of(&book),
            };
            let condition = AppendCondition::no_match_after(filter, known);
            begun.push(self.begin(vec![lent(&book, "r-1")], condition).await);
        }
        self.release_lock().await;
        let first = first.await.unwrap().last();
        let mut outcomes = join_all(begun).await;
        let two = [outcomes.remove(7), outcomes.remove(4)];
        for other in outcomes {
            other.unwrap();
        }
        let count = format!(
            "SELECT count(DISTINCT xmin::text) FROM {} WHERE sequence_number > {first}
             AND payload->>'BookID' NOT IN ('b-{known}-4', 'b-{known}-7')",
            self.log.name
        );
        let transactions = self.sql.query_one(&count, &[]).await.unwrap().get(0);
        (foreign, two, transactions)
    }
}

#[tokio::test]
async fn events_of_other_writers_break_conditions_of_every_kind() {
    let fixture = Fixture::new().await;
    for Kind { filter, breaks, .. } in kinds() {
        let (foreign, outcomes, _) = fixture.append_beside_other_writer(&filter, breaks).await;

        for outcome in outcomes {
            let Err(Error::Conflict { position, event_type, .. }) = &outcome else {
                panic!("{filter:?}: {outcome:?}")
            };
            assert_eq!((*position, event_type.as_str()), (foreign, breaks.0), "{filter:?}");
        }
    }
}

#[tokio::test]
async fn events_of_other_writers_that_do_not_match_break_no_condition() {
    let fixture = Fixture::new().await;
    for Kind { filter, does_not_break, .. } in kinds() {
        let (_, outcomes, _) = fixture.append_beside_other_writer(&filter, does_not_break).await;

        assert!(outcomes.iter().all(Result::is_ok), "{filter:?}: {outcomes:?}");
    }
}

/// A batch that takes longer than a second lets other appends go on over another connection, so
/// that this may need several tries.
#[tokio::test]
async fn refused_appends_do_not_split_the_batch_of_the_others() {
    let fixture = Fixture::new().await;
    for _ in 0..20 {
        let (_, outcomes, transactions) =
            fixture.append_beside_other_writer(&Filter::types(["A"]), ("A", "{}")).await;

        assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
        if transactions == 1 {
            return;
        }
    }
    panic!("the unrelated appends never shared a transaction");
}

/// Returns the SQL text that inserts more events than the procedure compares under the lock.
fn insert_many(log: &str) -> String {
    format!(
        "INSERT INTO {log} (event_id, occurred_at, event_type, payload)
         SELECT gen_random_uuid(), now(), 'B', jsonb_build_object('a', number)
         FROM generate_series(1, 5000) AS number"
    )
}

/// There are more new events than the procedure compares under the lock, so that the conditions
/// become stale.
#[tokio::test]
async fn conditions_see_all_of_many_events_of_other_writers() {
    let fixture = Fixture::new().await;
    let many = insert_many(&fixture.log.name);
    let known = fixture.observe_other_writer().await;
    fixture.take_lock().await;
    let mut begun = Vec::new();
    for number in [0, 1, 2_500, 5_000, 5_001] {
        let filter = Filter::types(["B"]).any_of([("a", number)]).build().unwrap();
        let condition = AppendCondition::no_match_after(filter, known);
        begun.push(fixture.begin(vec![lent("b-2", "r-1")], condition).await);
    }
    // The batch waits for the lock when the events are committed before it.
    fixture.wait_for_waiter().await;
    fixture.holder.batch_execute(&many).await.unwrap();
    fixture.release_lock().await;

    let outcomes = join_all(begun).await;

    let is_conflict = |one: &Outcome| matches!(one, Err(Error::Conflict { .. }));
    let conflicts: Vec<_> = outcomes.iter().map(is_conflict).collect();
    assert_eq!(conflicts, [false, true, true, true, false], "{outcomes:?}");
}

/// Each time that the append has searched for an event that breaks its condition, another session
/// appends more events than the procedure compares under the lock.
#[tokio::test]
async fn an_append_succeeds_beside_writers_that_append_very_many_events() {
    let fixture = Fixture::new().await;
    let many = insert_many(&fixture.log.name);
    let known = fixture.observe_other_writer().await;
    let url = fixture.log.primary_url();
    let (mut holder, mut next) = (connect(&url).await, connect(&url).await);
    let hold = "SELECT pg_advisory_lock($1)";
    holder.execute(hold, &[&fixture.key]).await.unwrap();
    let condition = AppendCondition::no_match_after(loans_of("b-2"), known);
    let mut append = fixture.begin(vec![lent("b-2", "r-1")], condition).await;
    let mut bursts = 0;

    let outcome = loop {
        tokio::select! {
            outcome = &mut append => break outcome,
            () = fixture.wait_for_waiter() => {}
        }
        holder.batch_execute(&many).await.unwrap();
        bursts += 1;
        assert!(bursts < 10, "the append does not succeed");
        // The next session gets the lock as soon as the append is refused.
        let pass_lock_on = async {
            wait_for_lock_waiters(&fixture.sql, fixture.key, 2).await;
            holder.execute("SELECT pg_advisory_unlock($1)", &[&fixture.key]).await.unwrap();
        };
        let params: [&(dyn ToSql + Sync); 1] = [&fixture.key];
        let (held, ()) = tokio::join!(next.execute(hold, &params), pass_lock_on);
        held.unwrap();
        std::mem::swap(&mut holder, &mut next);
    };

    outcome.unwrap();
    assert!(bursts > 1, "the append was never refused");
}

/// The server receives each type and each predicate of an item once, not their combinations.
#[tokio::test]
async fn the_server_validates_a_filter_of_very_many_types_and_predicates() {
    let fixture = Fixture::new().await;
    let known = fixture.observe_other_writer().await;
    fixture.sql.batch_execute(&fixture.log.insert("b-10")).await.unwrap();
    let books = |from: usize| (from..from + 4_900).map(|book| ("BookID", format!("b-{book}")));
    let types = (0..4_900).map(|number| format!("Type{number}"));
    for (from, is_broken) in [(11, false), (10, true)] {
        let types = types.clone().chain(["BookCopyLentToReader".to_owned()]);
        let filter = Filter::types(types).any_of(books(from)).build().unwrap();
        assert_eq!(fixture.is_broken(filter, known).await, is_broken);
    }
}

/// The more keys a filter names, the fewer events the procedure compares with it under the lock.
#[tokio::test]
async fn the_server_validates_a_filter_of_very_many_keys() {
    let fixture = Fixture::new().await;
    let many = format!(
        "INSERT INTO {} (event_id, occurred_at, event_type, payload)
         SELECT gen_random_uuid(), now(), 'B', jsonb_build_object('key-' || number, 1)
         FROM generate_series(1, 100) AS number",
        fixture.log.name
    );
    let known = fixture.observe_other_writer().await;
    fixture.sql.batch_execute(&many).await.unwrap();
    let keys = |from: usize| (from..from + 5_000).map(|number| (format!("key-{number}"), 1));
    for (from, is_broken) in [(101, false), (100, true)] {
        let filter = Filter::any_of(keys(from)).build().unwrap();
        assert_eq!(fixture.is_broken(filter, known).await, is_broken);
    }
}

/// One position was never reached; the other one was the head before the owner deleted the last
/// event.
#[tokio::test]
async fn the_server_refuses_a_condition_at_a_position_above_the_head() {
    let fixture = Fixture::new().await;
    let kept = fixture.store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    fixture.sql.batch_execute(&fixture.log.insert("b-1")).await.unwrap();
    let reached = fixture.store.head().await.unwrap();
    let remove = format!(
        "SET eddyline.allow_changes = on; DELETE FROM {} WHERE sequence_number = {reached}",
        fixture.log.name
    );
    fixture.sql.batch_execute(&remove).await.unwrap();
    let never_reached = SequenceNumber::new(1_000_000);
    for above_head in [reached, never_reached] {
        let mut begun = Vec::new();
        for (book, after) in [("b-2", above_head), ("b-3", kept.last()), ("b-4", kept.last())] {
            let condition = AppendCondition::no_match_after(loans_of(book), after);
            begun.push(fixture.begin(vec![lent(book, "r-1")], condition).await);
        }

        let outcomes = join_all(begun).await;

        assert!(
            matches!(outcomes[0], Err(Error::PositionAhead { position, .. })
            if position == above_head),
            "{outcomes:?}"
        );
    }
}

//! Appends that go together while others append too, and the server judges all of them at once.

use eddyline::filter::FilterBuilder;
use eddyline::{AppendCondition, Error, Filter, SequenceNumber};
use futures_util::future::join_all;
use serde_json::json;
use tokio_postgres::types::ToSql;

use super::{Gate, Outcome};
use crate::support::{connect, lent, loans_of, wait_for_lock_waiters};

/// A kind of condition, and what others append meanwhile.
struct Kind {
    filter: FilterBuilder,
    breaks: (&'static str, &'static str),
    does_not: (&'static str, &'static str),
}

fn kind(
    filter: FilterBuilder,
    breaks: (&'static str, &'static str),
    does_not: (&'static str, &'static str),
) -> Kind {
    Kind { filter, breaks, does_not }
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

impl Gate {
    /// Appends on the condition that nothing came after a position. Returns whether something did.
    async fn is_broken(&self, filter: Filter, known: SequenceNumber) -> bool {
        let condition = AppendCondition::no_match_after(filter, known);
        match self.store.append([lent("b-2", "r-1")], condition).await {
            Ok(_) => false,
            Err(Error::Conflict { .. }) => true,
            outcome => panic!("{outcome:?}"),
        }
    }

    /// Makes two appends with the condition, and others that have nothing to do with it, while
    /// somebody else appends. Returns where that is, what came of the two, and how many
    /// transactions stored those of the others.
    async fn beside(
        &self,
        filter: &FilterBuilder,
        (event_type, payload): (&str, &str),
    ) -> (SequenceNumber, [Outcome; 2], i64) {
        let known = self.store.head().await.unwrap();
        let first = self.occupy("b-0").await;
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
        self.open().await;
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
async fn what_others_append_breaks_conditions_of_every_kind() {
    let gate = Gate::new().await;
    for Kind { filter, breaks, .. } in kinds() {
        let (foreign, outcomes, _) = gate.beside(&filter, breaks).await;

        for outcome in outcomes {
            let Err(Error::Conflict { event, event_type, .. }) = &outcome else {
                panic!("{filter:?}: {outcome:?}")
            };
            assert_eq!((*event, event_type.as_str()), (foreign, breaks.0), "{filter:?}");
        }
    }
}

#[tokio::test]
async fn what_others_append_breaks_no_condition_that_it_is_not_about() {
    let gate = Gate::new().await;
    for Kind { filter, does_not, .. } in kinds() {
        let (_, outcomes, _) = gate.beside(&filter, does_not).await;

        assert!(outcomes.iter().all(Result::is_ok), "{filter:?}: {outcomes:?}");
    }
}

/// Unless they waited for so long that others took over.
#[tokio::test]
async fn what_is_refused_beside_others_does_not_keep_the_rest_from_going_together() {
    let gate = Gate::new().await;
    for _ in 0..20 {
        let (_, outcomes, transactions) = gate.beside(&Filter::types(["A"]), ("A", "{}")).await;

        assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
        if transactions == 1 {
            return;
        }
    }
    panic!("they never went together");
}

/// More than can be looked through while everybody waits, and stale thereby.
#[tokio::test]
async fn of_many_events_of_others_none_is_overlooked() {
    let gate = Gate::new().await;
    let many = format!(
        "INSERT INTO {} (event_id, occurred_at, event_type, payload)
         SELECT gen_random_uuid(), now(), 'B', jsonb_build_object('a', number)
         FROM generate_series(1, 5000) AS number",
        gate.log.name
    );
    let known = gate.meet_others().await;
    gate.close().await;
    let mut begun = Vec::new();
    for number in [0, 1, 2_500, 5_000, 5_001] {
        let filter = Filter::types(["B"]).any_of([("a", number)]).build().unwrap();
        let condition = AppendCondition::no_match_after(filter, known);
        begun.push(gate.begin(vec![lent("b-2", "r-1")], condition).await);
    }
    // They are under way when it turns out how much came before them.
    gate.wait_for_waiter().await;
    gate.holder.batch_execute(&many).await.unwrap();
    gate.open().await;

    let outcomes = join_all(begun).await;

    let is_conflict = |one: &Outcome| matches!(one, Err(Error::Conflict { .. }));
    let conflicts: Vec<_> = outcomes.iter().map(is_conflict).collect();
    assert_eq!(conflicts, [false, true, true, true, false], "{outcomes:?}");
}

/// Each time that an append has searched for what breaks its condition, others append more events than
/// are looked through under the lock.
#[tokio::test]
async fn an_append_gets_through_beside_others_who_append_very_much() {
    let gate = Gate::new().await;
    let many = format!(
        "INSERT INTO {} (event_id, occurred_at, event_type, payload)
         SELECT gen_random_uuid(), now(), 'B', jsonb_build_object('a', number)
         FROM generate_series(1, 5000) AS number",
        gate.log.name
    );
    let known = gate.meet_others().await;
    let url = gate.log.primary_url();
    let (mut holder, mut next) = (connect(&url).await, connect(&url).await);
    let hold = "SELECT pg_advisory_lock($1)";
    holder.execute(hold, &[&gate.key]).await.unwrap();
    let condition = AppendCondition::no_match_after(loans_of("b-2"), known);
    let mut append = gate.begin(vec![lent("b-2", "r-1")], condition).await;
    let mut bursts = 0;

    let outcome = loop {
        tokio::select! {
            outcome = &mut append => break outcome,
            () = gate.wait_for_waiter() => {}
        }
        holder.batch_execute(&many).await.unwrap();
        bursts += 1;
        assert!(bursts < 10, "the append does not get through");
        // The next one has the lock as soon as the append is refused.
        let hand_over = async {
            wait_for_lock_waiters(&gate.sql, gate.key, 2).await;
            holder.execute("SELECT pg_advisory_unlock($1)", &[&gate.key]).await.unwrap();
        };
        let params: [&(dyn ToSql + Sync); 1] = [&gate.key];
        let (held, ()) = tokio::join!(next.execute(hold, &params), hand_over);
        held.unwrap();
        std::mem::swap(&mut holder, &mut next);
    };

    outcome.unwrap();
    assert!(bursts > 1, "it was never refused");
}

/// The types of an item and its predicates are sent once each.
#[tokio::test]
async fn a_filter_of_very_many_types_and_predicates_is_validated_beside_others() {
    let gate = Gate::new().await;
    let known = gate.meet_others().await;
    gate.sql.batch_execute(&gate.log.insert("b-10")).await.unwrap();
    let books = |from: usize| (from..from + 4_900).map(|book| ("BookID", format!("b-{book}")));
    let types = (0..4_900).map(|number| format!("Type{number}"));
    for (from, is_broken) in [(11, false), (10, true)] {
        let types = types.clone().chain(["BookCopyLentToReader".to_owned()]);
        let filter = Filter::types(types).any_of(books(from)).build().unwrap();
        assert_eq!(gate.is_broken(filter, known).await, is_broken);
    }
}

/// The more keys a filter names, the fewer events are looked through for it under the lock.
#[tokio::test]
async fn a_filter_of_very_many_keys_is_validated_beside_others() {
    let gate = Gate::new().await;
    let many = format!(
        "INSERT INTO {} (event_id, occurred_at, event_type, payload)
         SELECT gen_random_uuid(), now(), 'B', jsonb_build_object('key-' || number, 1)
         FROM generate_series(1, 100) AS number",
        gate.log.name
    );
    let known = gate.meet_others().await;
    gate.sql.batch_execute(&many).await.unwrap();
    let keys = |from: usize| (from..from + 5_000).map(|number| (format!("key-{number}"), 1));
    for (from, is_broken) in [(101, false), (100, true)] {
        let filter = Filter::any_of(keys(from)).build().unwrap();
        assert_eq!(gate.is_broken(filter, known).await, is_broken);
    }
}

/// One that nobody has seen, and one that somebody has, before the owner removed the last events.
#[tokio::test]
async fn a_position_beyond_the_log_is_refused_beside_others_too() {
    let gate = Gate::new().await;
    let kept = gate.store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    gate.sql.batch_execute(&gate.log.insert("b-1")).await.unwrap();
    let seen = gate.store.head().await.unwrap();
    let remove = format!(
        "SET eddyline.allow_changes = on; DELETE FROM {} WHERE sequence_number = {seen}",
        gate.log.name
    );
    gate.sql.batch_execute(&remove).await.unwrap();
    let unseen = SequenceNumber::new(1_000_000);
    for beyond in [seen, unseen] {
        let mut begun = Vec::new();
        for (book, after) in [("b-2", beyond), ("b-3", kept.last()), ("b-4", kept.last())] {
            let condition = AppendCondition::no_match_after(loans_of(book), after);
            begun.push(gate.begin(vec![lent(book, "r-1")], condition).await);
        }

        let outcomes = join_all(begun).await;

        assert!(
            matches!(outcomes[0], Err(Error::PositionAhead { position, .. })
            if position == beyond),
            "{outcomes:?}"
        );
    }
}

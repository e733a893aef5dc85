//! Appends that go together, each judged by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use eddyline::{AppendCondition, Error, Event, Filter, Query, RetryPolicy, SequenceNumber};
use futures_util::future::join_all;
use serde_json::json;

use super::{Gate, Outcome};
use crate::support::{Log, lent, loans_of, returned, run_after_commits};

fn none() -> AppendCondition {
    AppendCondition::none()
}

fn no_loan_of(book: &str) -> AppendCondition {
    AppendCondition::no_match(loans_of(book))
}

async fn count(gate: &Gate, filter: Filter) -> usize {
    gate.store.query(&filter).await.unwrap().events().len()
}

fn refused_with(outcome: &Outcome, code: &str) -> bool {
    outcome.as_ref().is_err_and(|error| error.sqlstate().is_some_and(|one| one.as_str() == code))
}

/// Unless they waited for so long that others took over.
#[tokio::test]
async fn appends_that_wait_together_are_one_transaction() {
    for _ in 0..20 {
        let gate = Gate::new().await;
        let books: Vec<_> = (0..100).map(|book| format!("b-{book}")).collect();

        let appends = books.iter().map(|book| (vec![lent(book, "r-1")], no_loan_of(book)));
        let outcomes = gate.together(appends.collect()).await;

        let places: Vec<_> = outcomes.iter().map(|one| one.as_ref().unwrap().first()).collect();
        assert!(places.is_sorted(), "{places:?}");
        if gate.transactions_after(SequenceNumber::ZERO).await == 2 {
            return;
        }
    }
    panic!("they never went together");
}

/// Where it came first, and no other was under way.
#[tokio::test]
async fn an_append_that_lingers_goes_with_what_comes_meanwhile() {
    let gate = Gate::with(|config| config.linger(Duration::from_millis(500))).await;
    // From here on there is a connection that need not be waited for.
    gate.store.append([lent("b-0", "r-1")], none()).await.unwrap();
    for _ in 0..20 {
        let known = gate.store.head().await.unwrap();
        let first = gate.begin(vec![lent("b-1", "r-1")], none()).await;
        // Whoever carries it out has had its turn.
        gate.store.head().await.unwrap();
        let second = gate.begin(vec![lent("b-2", "r-1")], none()).await;
        for outcome in join_all([first, second]).await {
            outcome.unwrap();
        }

        if gate.transactions_after(known).await == 1 {
            return;
        }
    }
    panic!("they never went together");
}

#[tokio::test]
async fn of_those_that_read_the_same_one_is_accepted_and_the_others_are_told_of_it() {
    let gate = Gate::new().await;
    let appends = (0..5).map(|reader| {
        let event = lent("b-1", &format!("r-{reader}"));
        (vec![event, returned("b-2", "r-1")], no_loan_of("b-1"))
    });

    let outcomes = gate.together(appends.collect()).await;

    let first = outcomes[0].as_ref().unwrap().first();
    for refused in &outcomes[1..] {
        let Err(Error::Conflict { after, event, event_type }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((*after, *event), (SequenceNumber::ZERO, first));
        assert_eq!(event_type, "BookCopyLentToReader");
    }
    assert_eq!(count(&gate, loans_of("b-1")).await, 1);
}

#[tokio::test]
async fn one_whose_event_a_constraint_refuses_fails_alone() {
    let gate = Gate::new().await;
    gate.refuse("b-3").await;
    let appends = (0..9).map(|book| {
        let book = format!("b-{book}");
        (vec![lent(&book, "r-1")], if book.as_str() < "b-5" { no_loan_of(&book) } else { none() })
    });

    let outcomes = gate.together(appends.collect()).await;

    for (book, outcome) in outcomes.iter().enumerate() {
        match book {
            3 => assert!(refused_with(outcome, "23514"), "{outcome:?}"),
            _ => assert!(outcome.is_ok(), "{book}: {outcome:?}"),
        }
        assert_eq!(count(&gate, loans_of(&format!("b-{book}"))).await, usize::from(book != 3));
    }
}

/// One at once, one when the transaction is to be committed.
#[tokio::test]
async fn one_whose_event_a_trigger_refuses_fails_alone() {
    for (kind, timing) in [("TRIGGER", ""), ("CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED")]
    {
        let gate = Gate::new().await;
        let name = &gate.log.name;
        let trigger = format!(
            "CREATE FUNCTION {name}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.payload->>'BookID' = 'b-4' THEN
                     RAISE EXCEPTION 'no' USING ERRCODE = 'P0777';
                 END IF;
                 RETURN NULL;
             END $$;
             CREATE {kind} refuse AFTER INSERT ON {name} {timing}
                 FOR EACH ROW EXECUTE FUNCTION {name}_refuse()"
        );
        gate.sql.batch_execute(&trigger).await.unwrap();
        let appends = (0..9).map(|book| (vec![lent(&format!("b-{book}"), "r-1")], none()));

        let outcomes = gate.together(appends.collect()).await;

        for (book, outcome) in outcomes.iter().enumerate() {
            match book {
                4 => assert!(refused_with(outcome, "P0777"), "{outcome:?}"),
                _ => assert!(outcome.is_ok(), "{book}: {outcome:?}"),
            }
            assert_eq!(count(&gate, loans_of(&format!("b-{book}"))).await, usize::from(book != 4));
        }
    }
}

#[tokio::test]
async fn events_that_are_there_already_are_found_and_stored_once() {
    let gate = Gate::new().await;
    let events: Vec<_> = (0..6).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    let before = gate.store.append([events[2].clone()], none()).await.unwrap();
    // The last is a second call with an event of the batch itself.
    let again = events.iter().chain([&events[4]]);
    let appends = again.map(|event| (vec![event.clone()], none()));

    let outcomes = gate.together(appends.collect()).await;

    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes[2].first(), before.first());
    assert_eq!(outcomes[6].first(), outcomes[4].first());
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_repeat(), [2, 6].contains(&number), "{number}");
    }
    assert_eq!(count(&gate, Filter::everything()).await, 7);
}

#[tokio::test]
async fn filters_of_every_kind_see_what_was_stored_before_them() {
    let build = |builder: eddyline::filter::FilterBuilder| builder.build().unwrap();
    let event = Event::new(
        "ReaderMoved",
        &json!({ "ReaderID": "r-1", "Floor": 1.0, "Address": { "City": "Graz", "Zip": 8010 } }),
    );
    let event = event.unwrap();
    let filters = [
        (build(Filter::types(["ReaderMoved"])), true),
        (build(Filter::types(["ReaderLeft"])), false),
        (build(Filter::any_of([("ReaderID", "r-2"), ("ReaderID", "r-1")])), true),
        (build(Filter::any_of([("Floor", 1)])), true),
        (build(Filter::any_of([("Address", json!({ "City": "Graz" }))])), true),
        (build(Filter::any_of([("Address", json!({ "City": "Wien" }))])), false),
        (build(Filter::all_of([("ReaderID", json!("r-1")), ("Floor", json!(1))])), true),
        (build(Filter::all_of([("ReaderID", json!("r-1")), ("Floor", json!(2))])), false),
        (build(Filter::types(["ReaderLeft"]).or(Filter::any_of([("ReaderID", "r-1")]))), true),
        (Filter::everything().occurred(event.occurred_at()..).unwrap(), true),
        (Filter::everything(), true),
    ];
    for (filter, matches) in filters {
        let gate = Gate::new().await;
        let head = gate.store.append([lent("b-0", "r-0")], none()).await.unwrap().last();
        // That of the first one, which is under way, comes in between.
        let condition =
            AppendCondition::no_match_after(filter.clone(), SequenceNumber::new(head.value() + 1));
        let appends = vec![(vec![event.clone()], none()), (vec![lent("b-9", "r-9")], condition)];

        let outcomes = gate.together(appends).await;

        let stored = outcomes[0].as_ref().unwrap().first();
        match &outcomes[1] {
            Err(Error::Conflict { event, .. }) => {
                assert!(matches && *event == stored, "{filter:?}")
            }
            outcome => assert!(outcome.is_ok() && !matches, "{filter:?}: {outcome:?}"),
        }
    }
}

/// Large appends have a connection of their own, so that their order among the others is open.
#[tokio::test]
async fn large_appends_are_stored_whole_beside_small_ones() {
    let gate = Gate::new().await;
    let note = |book: &str, bytes: usize| {
        let payload = json!({ "BookID": book, "Note": "x".repeat(bytes) });
        Event::new("BookCopyLentToReader", &payload).unwrap()
    };
    let many = (0..1_500).map(|copy| lent("b-1", &format!("r-{copy}"))).collect();
    let appends = vec![
        (vec![lent("b-0", "r-1")], no_loan_of("b-0")),
        (many, no_loan_of("b-1")),
        (vec![lent("b-1", "r-2")], no_loan_of("b-1")),
        (vec![note("b-2", 900_000)], no_loan_of("b-2")),
        (vec![lent("b-2", "r-2")], no_loan_of("b-2")),
        // Larger than what is kept of the log.
        (vec![note("b-3", 9_000)], no_loan_of("b-3")),
        (vec![lent("b-3", "r-3")], no_loan_of("b-3")),
    ];
    let sizes: Vec<_> = appends.iter().map(|(events, _)| events.len()).collect();

    let outcomes = gate.together(appends).await;

    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    for (book, pair) in [("b-1", [1, 2]), ("b-2", [3, 4]), ("b-3", [5, 6])] {
        let (accepted, refused): (Vec<usize>, Vec<usize>) =
            pair.into_iter().partition(|&number| outcomes[number].is_ok());
        assert_eq!((accepted.len(), refused.len()), (1, 1), "{book}: {outcomes:?}");
        let refusal = outcomes[refused[0]].as_ref().unwrap_err();
        assert!(refusal.is_conflict(), "{refusal:?}");
        assert_eq!(count(&gate, loans_of(book)).await, sizes[accepted[0]]);
    }
}

#[tokio::test]
async fn with_a_batch_of_one_each_has_a_transaction_of_its_own() {
    let gate = Gate::with(|config| config.max_batch(1)).await;
    let appends = (0..8).map(|book| (vec![lent(&format!("b-{book}"), "r-1")], none()));

    let outcomes = gate.together(appends.collect()).await;

    let places: BTreeSet<_> = outcomes.iter().map(|one| one.as_ref().unwrap().first()).collect();
    assert_eq!((places.len(), gate.transactions_after(SequenceNumber::ZERO).await), (8, 9));
}

#[tokio::test]
async fn a_server_that_takes_no_writes_any_more_stores_none_of_them() {
    let gate = Gate::of(Log::isolated().await, |config| {
        let policy = eddyline::RetryPolicy::builder().attempts(1).build().unwrap();
        config.retry(policy)
    })
    .await;
    let name: String = gate.sql.query_one("SELECT current_database()", &[]).await.unwrap().get(0);
    let set = |word: &str| format!("ALTER DATABASE {name} {word} default_transaction_read_only");
    gate.store.append([lent("b-0", "r-1")], none()).await.unwrap();
    gate.sql.batch_execute(&format!("{} = on", set("SET"))).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    gate.sql.batch_execute(end).await.unwrap();
    let mut begun = Vec::new();
    for book in ["b-1", "b-2", "b-3"] {
        begun.push(gate.begin(vec![lent(book, "r-1")], no_loan_of(book)).await);
    }

    for outcome in futures_util::future::join_all(begun).await {
        assert!(outcome.is_err(), "{outcome:?}");
    }

    let sql = gate.log.sql().await;
    sql.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    sql.batch_execute(&set("RESET")).await.unwrap();
    let store = gate.log.writer().await;
    assert_eq!(store.query(Query::new(&Filter::everything())).await.unwrap().events().len(), 1);
    crate::support::wait_until(async || {
        gate.store.append([lent("b-4", "r-1")], none()).await.is_ok()
    })
    .await;
}

/// Their first try was canceled after its commit, and the second one is refused.
#[tokio::test]
async fn those_that_may_be_stored_are_not_told_that_they_are_not() {
    let gate = Gate::with(|config| {
        let config = config.statement_timeout(Duration::from_secs(3));
        config.linger(Duration::from_millis(50)).retry(RetryPolicy::never())
    });
    let gate = gate.await;
    let name = &gate.log.name;
    let body = format!(
        "ALTER TABLE public.{name} ADD CHECK (false) NOT VALID; COMMIT; PERFORM pg_sleep(60);"
    );
    run_after_commits(&gate.sql, name, &body).await;
    let append = |book: &str| {
        let event = lent(book, "r-1");
        (event.id(), gate.store.append([event], AppendCondition::none()))
    };
    let ((one, first), (other, second)) = (append("b-1"), append("b-2"));

    let (first, second) = tokio::join!(first, second);

    for (id, outcome) in [(one, first), (other, second)] {
        let error = outcome.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error:?}");
        assert!(gate.store.event(id).await.unwrap().is_some());
    }
}

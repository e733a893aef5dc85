//! Appends that share a batch; each one is validated on its own.

use std::collections::BTreeSet;
use std::time::Duration;

use eddyline::{AppendCondition, Error, Event, Filter, Query, RetryPolicy, SequenceNumber};
use futures_util::future::join_all;
use serde_json::json;

use super::{Fixture, Outcome};
use crate::support::{Log, lent, loans_of, returned, run_after_commits};

fn none() -> AppendCondition {
    AppendCondition::none()
}

fn no_loan_of(book: &str) -> AppendCondition {
    AppendCondition::no_match(loans_of(book))
}

async fn count(fixture: &Fixture, filter: Filter) -> usize {
    fixture.store.query(&filter).await.unwrap().events().len()
}

fn failed_with(outcome: &Outcome, code: &str) -> bool {
    outcome.as_ref().is_err_and(|error| error.sqlstate().is_some_and(|one| one.as_str() == code))
}

/// A batch that takes longer than a second lets other appends go on over another connection, so
/// that this may need several tries.
#[tokio::test]
async fn appends_that_wait_together_share_one_transaction() {
    for _ in 0..20 {
        let fixture = Fixture::new().await;
        let books: Vec<_> = (0..100).map(|book| format!("b-{book}")).collect();

        let appends = books.iter().map(|book| (vec![lent(book, "r-1")], no_loan_of(book)));
        let outcomes = fixture.append_together(appends.collect()).await;

        let positions: Vec<_> = outcomes.iter().map(|one| one.as_ref().unwrap().first()).collect();
        assert!(positions.is_sorted(), "{positions:?}");
        if fixture.transactions_after(SequenceNumber::ZERO).await == 2 {
            return;
        }
    }
    panic!("the appends never shared a transaction");
}

/// The first append lingers although no other batch is being executed.
#[tokio::test]
async fn an_append_that_lingers_shares_its_transaction_with_later_ones() {
    let fixture = Fixture::with(|config| config.linger(Duration::from_millis(500))).await;
    // This opens the connection, so that the appends below do not wait for one.
    fixture.store.append([lent("b-0", "r-1")], none()).await.unwrap();
    for _ in 0..20 {
        let known = fixture.store.head().await.unwrap();
        let first = fixture.begin(vec![lent("b-1", "r-1")], none()).await;
        // The task that executes the append has been scheduled meanwhile.
        fixture.store.head().await.unwrap();
        let second = fixture.begin(vec![lent("b-2", "r-1")], none()).await;
        for outcome in join_all([first, second]).await {
            outcome.unwrap();
        }

        if fixture.transactions_after(known).await == 1 {
            return;
        }
    }
    panic!("the appends never shared a transaction");
}

#[tokio::test]
async fn of_appends_on_the_same_condition_one_succeeds_and_the_others_conflict() {
    let fixture = Fixture::new().await;
    let appends = (0..5).map(|reader| {
        let event = lent("b-1", &format!("r-{reader}"));
        (vec![event, returned("b-2", "r-1")], no_loan_of("b-1"))
    });

    let outcomes = fixture.append_together(appends.collect()).await;

    let first = outcomes[0].as_ref().unwrap().first();
    for refused in &outcomes[1..] {
        let Err(Error::Conflict { after, position, event_type }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((*after, *position), (SequenceNumber::ZERO, first));
        assert_eq!(event_type, "BookCopyLentToReader");
    }
    assert_eq!(count(&fixture, loans_of("b-1")).await, 1);
}

#[tokio::test]
async fn an_append_that_a_constraint_refuses_fails_alone() {
    let fixture = Fixture::new().await;
    fixture.refuse_book("b-3").await;
    let appends = (0..9).map(|book| {
        let book = format!("b-{book}");
        (vec![lent(&book, "r-1")], if book.as_str() < "b-5" { no_loan_of(&book) } else { none() })
    });

    let outcomes = fixture.append_together(appends.collect()).await;

    for (book, outcome) in outcomes.iter().enumerate() {
        match book {
            3 => assert!(failed_with(outcome, "23514"), "{outcome:?}"),
            _ => assert!(outcome.is_ok(), "{book}: {outcome:?}"),
        }
        assert_eq!(count(&fixture, loans_of(&format!("b-{book}"))).await, usize::from(book != 3));
    }
}

/// One trigger raises its error at once, the other one, which is deferred, at the commit.
#[tokio::test]
async fn an_append_that_a_trigger_refuses_fails_alone() {
    for (kind, timing) in [("TRIGGER", ""), ("CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED")]
    {
        let fixture = Fixture::new().await;
        let name = &fixture.log.name;
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
        fixture.sql.batch_execute(&trigger).await.unwrap();
        let appends = (0..9).map(|book| (vec![lent(&format!("b-{book}"), "r-1")], none()));

        let outcomes = fixture.append_together(appends.collect()).await;

        for (book, outcome) in outcomes.iter().enumerate() {
            match book {
                4 => assert!(failed_with(outcome, "P0777"), "{outcome:?}"),
                _ => assert!(outcome.is_ok(), "{book}: {outcome:?}"),
            }
            assert_eq!(
                count(&fixture, loans_of(&format!("b-{book}"))).await,
                usize::from(book != 4)
            );
        }
    }
}

#[tokio::test]
async fn events_that_exist_already_are_recognized_and_stored_once() {
    let fixture = Fixture::new().await;
    let events: Vec<_> = (0..6).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    let before = fixture.store.append([events[2].clone()], none()).await.unwrap();
    // The last append repeats an event of the batch itself.
    let again = events.iter().chain([&events[4]]);
    let appends = again.map(|event| (vec![event.clone()], none()));

    let outcomes = fixture.append_together(appends.collect()).await;

    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes[2].first(), before.first());
    assert_eq!(outcomes[6].first(), outcomes[4].first());
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_repeat(), [2, 6].contains(&number), "{number}");
    }
    assert_eq!(count(&fixture, Filter::everything()).await, 7);
}

#[tokio::test]
async fn conditions_of_every_kind_see_earlier_events_of_the_batch() {
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
        let fixture = Fixture::new().await;
        let head = fixture.store.append([lent("b-0", "r-0")], none()).await.unwrap().last();
        // The event of the blocked append gets the number after the head.
        let condition =
            AppendCondition::no_match_after(filter.clone(), SequenceNumber::new(head.value() + 1));
        let appends = vec![(vec![event.clone()], none()), (vec![lent("b-9", "r-9")], condition)];

        let outcomes = fixture.append_together(appends).await;

        let stored = outcomes[0].as_ref().unwrap().first();
        match &outcomes[1] {
            Err(Error::Conflict { position, .. }) => {
                assert!(matches && *position == stored, "{filter:?}")
            }
            outcome => assert!(outcome.is_ok() && !matches, "{filter:?}: {outcome:?}"),
        }
    }
}

/// Large appends have a connection of their own, so that their order among the others is undefined.
#[tokio::test]
async fn large_appends_are_stored_whole_beside_small_ones() {
    let fixture = Fixture::new().await;
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
        // Larger than the part of the log that the store keeps in memory.
        (vec![note("b-3", 9_000)], no_loan_of("b-3")),
        (vec![lent("b-3", "r-3")], no_loan_of("b-3")),
    ];
    let sizes: Vec<_> = appends.iter().map(|(events, _)| events.len()).collect();

    let outcomes = fixture.append_together(appends).await;

    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    for (book, pair) in [("b-1", [1, 2]), ("b-2", [3, 4]), ("b-3", [5, 6])] {
        let (accepted, refused): (Vec<usize>, Vec<usize>) =
            pair.into_iter().partition(|&number| outcomes[number].is_ok());
        assert_eq!((accepted.len(), refused.len()), (1, 1), "{book}: {outcomes:?}");
        let refusal = outcomes[refused[0]].as_ref().unwrap_err();
        assert!(refusal.is_conflict(), "{refusal:?}");
        assert_eq!(count(&fixture, loans_of(book)).await, sizes[accepted[0]]);
    }
}

#[tokio::test]
async fn with_max_batch_one_each_append_has_its_own_transaction() {
    let fixture = Fixture::with(|config| config.max_batch(1)).await;
    let appends = (0..8).map(|book| (vec![lent(&format!("b-{book}"), "r-1")], none()));

    let outcomes = fixture.append_together(appends.collect()).await;

    let positions: BTreeSet<_> = outcomes.iter().map(|one| one.as_ref().unwrap().first()).collect();
    assert_eq!((positions.len(), fixture.transactions_after(SequenceNumber::ZERO).await), (8, 9));
}

#[tokio::test]
async fn a_server_that_became_read_only_stores_no_append() {
    let fixture = Fixture::of(Log::isolated().await, |config| {
        let policy = eddyline::RetryPolicy::builder().attempts(1).build().unwrap();
        config.retry(policy)
    })
    .await;
    let name: String =
        fixture.sql.query_one("SELECT current_database()", &[]).await.unwrap().get(0);
    let set = |word: &str| format!("ALTER DATABASE {name} {word} default_transaction_read_only");
    fixture.store.append([lent("b-0", "r-1")], none()).await.unwrap();
    fixture.sql.batch_execute(&format!("{} = on", set("SET"))).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    fixture.sql.batch_execute(end).await.unwrap();
    let mut begun = Vec::new();
    for book in ["b-1", "b-2", "b-3"] {
        begun.push(fixture.begin(vec![lent(book, "r-1")], no_loan_of(book)).await);
    }

    for outcome in futures_util::future::join_all(begun).await {
        assert!(outcome.is_err(), "{outcome:?}");
    }

    let sql = fixture.log.sql().await;
    sql.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    sql.batch_execute(&set("RESET")).await.unwrap();
    let store = fixture.log.writer().await;
    assert_eq!(store.query(Query::new(&Filter::everything())).await.unwrap().events().len(), 1);
    crate::support::wait_until(async || {
        fixture.store.append([lent("b-4", "r-1")], none()).await.is_ok()
    })
    .await;
}

/// The first try of the batch is canceled after its commit, and the second one is refused.
#[tokio::test]
async fn appends_that_may_be_stored_report_an_unknown_outcome() {
    let fixture = Fixture::with(|config| {
        let config = config.statement_timeout(Duration::from_secs(3));
        config.linger(Duration::from_millis(50)).retry(RetryPolicy::never())
    });
    let fixture = fixture.await;
    let name = &fixture.log.name;
    let body = format!(
        "ALTER TABLE public.{name} ADD CHECK (false) NOT VALID; COMMIT; PERFORM pg_sleep(60);"
    );
    run_after_commits(&fixture.sql, name, &body).await;
    let append = |book: &str| {
        let event = lent(book, "r-1");
        (event.id(), fixture.store.append([event], AppendCondition::none()))
    };
    let ((one, first), (other, second)) = (append("b-1"), append("b-2"));

    let (first, second) = tokio::join!(first, second);

    for (id, outcome) in [(one, first), (other, second)] {
        let error = outcome.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error:?}");
        assert!(fixture.store.event(id).await.unwrap().is_some());
    }
}

/// Each half of the batch finds its own events in the log, and the search for them fails.
#[tokio::test]
async fn an_append_whose_own_events_cannot_be_searched_is_not_reported_as_failed() {
    let fixture = Fixture::with(|config| {
        let config = config.statement_timeout(Duration::from_secs(3));
        config.linger(Duration::from_millis(50)).retry(RetryPolicy::never())
    });
    let fixture = fixture.await;
    let name = &fixture.log.name;
    let trigger = format!(
        "CREATE FUNCTION public.{name}_slow() RETURNS trigger LANGUAGE plpgsql AS
           $$BEGIN PERFORM pg_sleep(0.8); RETURN NULL; END$$;
         CREATE TRIGGER zz_slow BEFORE INSERT ON public.{name} FOR EACH STATEMENT
           EXECUTE FUNCTION public.{name}_slow()"
    );
    fixture.sql.batch_execute(&trigger).await.unwrap();
    run_after_commits(&fixture.sql, name, "PERFORM pg_sleep(60);").await;
    let append = |book: &str| {
        let event = lent(book, "r-1");
        (event.id(), fixture.store.append([event], AppendCondition::none()))
    };
    let ((one, first), (other, second)) = (append("b-1"), append("b-2"));
    let lock = async {
        // The batch was canceled after its commit, and a half of it is being appended.
        tokio::time::sleep(Duration::from_millis(3_450)).await;
        let lock = format!("BEGIN; LOCK TABLE public.{name} IN ACCESS EXCLUSIVE MODE");
        fixture.sql.batch_execute(&lock).await.unwrap();
    };

    let (first, second, ()) = tokio::join!(first, second, lock);

    fixture.sql.batch_execute("ROLLBACK").await.unwrap();
    for (id, outcome) in [(one, first), (other, second)] {
        if fixture.store.event(id).await.unwrap().is_some() {
            let is_reported_as_failed =
                outcome.as_ref().is_err_and(|error| !error.is_outcome_unknown());
            assert!(!is_reported_as_failed, "{outcome:?}");
        }
    }
}

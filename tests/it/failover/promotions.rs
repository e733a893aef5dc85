//! A store follows a promoted server.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use eddyline::{
    Config, Decision, Error, Filter, ReadOnly, ReadWrite, ReplicaState, Role, SequenceNumber, Store,
};
use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::{Servers, append, append_until_stored_at, books, is_standby};
use crate::support::{FOREVER, connect, lent, loans_of, promptly, wait, wait_until};

/// Appends an event for a book of its own each time, every other client by a decision, until the
/// goal is reached. Returns the position of each event.
async fn append_continually(
    store: &Store<ReadWrite>,
    client: usize,
    count: &watch::Sender<usize>,
    goal: &watch::Sender<usize>,
) -> Vec<(SequenceNumber, String)> {
    let mut stored = Vec::new();
    while *count.borrow() < *goal.borrow() {
        let book = format!("b-{client}-{}", stored.len());
        let event = lent(&book, "r-1");
        let position = match client % 2 {
            0 => append(store, event).await,
            _ => {
                let decided = store.decide(loans_of(&book), |history| {
                    assert!(history.events().is_empty());
                    Ok::<_, Error>(Decision::append([event.clone()]))
                });
                promptly(decided).await.unwrap().position()
            }
        };
        stored.push((position, book));
        count.send_modify(|count| *count += 1);
    }
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_under_load_loses_and_repeats_nothing() {
    let servers = Servers::start(1).await;
    servers.make_synchronous().await;
    let store = servers.store().await;
    let (count, goal) = (watch::Sender::new(0), watch::Sender::new(usize::MAX));
    let clients = (0..32).map(|client| append_continually(&store, client, &count, &goal));
    let fail_over = async {
        count.subscribe().wait_for(|count| *count > 200).await.unwrap();
        servers.primary().kill().await.unwrap();
        servers.standby().promote().await.unwrap();
        goal.send_replace(*count.borrow() + 200);
    };

    let (stored, ()) = tokio::join!(join_all(clients), fail_over);

    let acknowledged: BTreeMap<_, _> = stored.into_iter().flatten().collect();
    let acknowledged: BTreeMap<_, _> =
        acknowledged.into_iter().map(|(position, book)| (position.value(), book)).collect();
    assert_eq!(books(servers.standby()).await, acknowledged);
}

/// The commit waits for a standby that never confirms, until the connection is given up.
#[tokio::test]
async fn an_append_in_flight_on_an_isolated_primary_is_stored_by_the_new_one() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let store = servers.store_with_event().await;
    old.set("synchronous_standby_names", "nobody").await.unwrap();
    let sql = connect(&old.url("postgres")).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    // The setting reaches the session a moment later.
    let appending = async {
        let mut appended = 1;
        while is_standby(new).await {
            append(&store, lent("b-1", "r-2")).await;
            appended += 1;
        }
        appended
    };
    let promotion = async {
        wait_until(async || sql.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0).await;
        servers.cluster.wait_for_replay().await.unwrap();
        new.promote().await.unwrap();
    };

    let (appended, ()) = tokio::join!(appending, promotion);

    assert_eq!(books(new).await.len(), appended);
}

/// No timeout of the store ends the calls that the old primary does not answer.
#[tokio::test]
async fn calls_leave_a_primary_that_stands_still_for_the_new_one() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let config = servers.config().acquire_timeout(FOREVER).connect_timeout(FOREVER);
    let store = Store::<ReadWrite>::connect(config.statement_timeout(FOREVER)).await.unwrap();
    append(&store, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    old.freeze().await.unwrap();

    let (last, head, promoted) = tokio::join!(
        append(&store, lent("b-1", "r-2")),
        // It needs a new connection.
        promptly(store.head()),
        new.promote(),
    );

    old.thaw().unwrap();
    promoted.unwrap();
    assert!(head.unwrap() <= last);
    assert_eq!(books(new).await.len(), 2);
}

#[tokio::test]
async fn a_store_follows_one_promotion_after_the_other() {
    let servers = Servers::start(1).await;
    let (one, other) = (servers.primary(), servers.standby());
    let store = servers.store_with_event().await;
    for (old, new) in [(one, other), (other, one)] {
        new.promote().await.unwrap();

        append_until_stored_at(&store, new).await;

        old.rebuild(new).await.unwrap();
    }
    let history = promptly(store.query(Filter::everything())).await.unwrap();
    assert_eq!(history.events().len(), books(one).await.len());
}

/// The standby lacks the newest event when it is promoted, and gives its position to another.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lost_events_refuses_their_positions() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let store = servers.store_with_event().await;
    let kept = store.query(loans_of("b-1")).await.unwrap();
    new.stop_streaming().await.unwrap();
    let last = append(&store, lent("b-1", "r-2")).await;
    let lost = store.query(loans_of("b-9")).await.unwrap();
    let fail_over = async {
        old.kill().await.unwrap();
        new.promote().await.unwrap();
        while append(&store, lent("b-2", "r-1")).await < last {}
    };

    // The failover happens between the read and the append of the decision.
    let fail_over = Cell::new(Some(fail_over));
    let decided = store.decide(loans_of("b-1"), |history| {
        if let Some(fail_over) = fail_over.take() {
            assert_eq!(history.events().len(), 2);
            wait(fail_over);
        }
        let reader = format!("r-{}", history.events().len());
        Ok::<_, Error>(Decision::append([lent("b-1", &reader)]))
    });
    let decided = promptly(decided).await.unwrap();
    let refused = store.append([lent("b-9", "r-3")], lost.condition());
    let refused = promptly(refused).await.unwrap_err();
    let conflict = store.append([lent("b-1", "r-3")], kept.condition());
    let conflict = promptly(conflict).await.unwrap_err();

    let readers = connect(&new.url("postgres")).await;
    let text = "SELECT count(*) FROM events WHERE payload ->> 'ReaderID' = 'r-1'
        AND payload ->> 'BookID' = 'b-1'";
    assert_eq!(readers.query_one(text, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!(decided.attempts(), 2);
    assert!(matches!(refused, Error::PositionLost { .. }), "{refused:?}");
    let position = decided.position();
    assert!(
        matches!(conflict, Error::Conflict { position: found, .. } if found == position),
        "{conflict:?}"
    );
}

#[test]
fn a_promotion_is_noticed_on_another_runtime_than_the_store_was_connected_on() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let outer = runtime();
    let servers = outer.block_on(Servers::start(1));
    let store = runtime().block_on(servers.store_with_event());
    outer.block_on(async {
        servers.standby().promote().await.unwrap();

        append_until_stored_at(&store, servers.standby()).await;
    });
}

#[tokio::test]
async fn a_read_only_store_goes_on_after_a_promotion() {
    let servers = Servers::start(2).await;
    let [new, other] = servers.cluster.standbys() else { panic!("two standbys") };
    let writer = servers.store().await;
    let config = Config::new(&servers.primary().url("postgres")).unwrap();
    let config = config.replica(&new.url("postgres")).unwrap();
    let config = config.replica(&other.url("postgres")).unwrap().replica_timeout(FOREVER);
    let config = config.watch_interval(Duration::from_millis(50));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    wait_until(async || reader.replicas().iter().all(|replica| replica.role.is_some())).await;
    append(&writer, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    servers.primary().kill().await.unwrap();
    new.promote().await.unwrap();
    other.follow(new).await.unwrap();

    let last = append(&writer, lent("b-2", "r-1")).await;
    let history = promptly(reader.at_least(last).query(Filter::everything())).await.unwrap();

    assert_eq!(history.events().len(), 2);
    assert_eq!(history.served_by(), "replica-2");
    let states = async || {
        let states = reader.replicas().into_iter();
        states.map(|one| (one.role, one.state)).collect::<Vec<_>>()
    };
    let expected = [
        (Some(Role::Primary), ReplicaState::Out),
        (Some(Role::Primary), ReplicaState::Promoted),
        (Some(Role::Replica), ReplicaState::Up),
    ];
    wait_until(async || states().await == expected).await;
    for _ in 0..10 {
        let history = promptly(reader.query(Filter::everything())).await.unwrap();
        assert_eq!(history.served_by(), "replica-2");
    }
}

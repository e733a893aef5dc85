//! Stores that share a causality read their own appends, and never see less than before.

use eddyline::{AppendCondition, Causality, Decision, Error, Filter, Query, SequenceNumber};
use futures_util::{TryStreamExt, stream};

use crate::support::{Log, Replicated, lent, loans_of, promptly, wait_until};

#[tokio::test]
async fn a_reader_with_the_same_causality_sees_each_append() {
    let log = Log::new().await;
    let causality = Causality::new();
    let writer = log.writer().await.with_causality(&causality);
    let reader = log.reader().await.with_causality(&causality);
    let count = async || reader.query(Filter::everything()).await.unwrap().events().len();
    for round in 1..=20 {
        writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        assert_eq!(count().await, 3 * round - 2);
        let decision = |_: &_| Ok::<_, Error>(Decision::append([lent("b-2", "r-1")]));
        writer.decide(loans_of("b-2"), decision).await.unwrap();
        assert_eq!(count().await, 3 * round - 1);
        writer.import(stream::iter([lent("b-3", "r-1")])).await.unwrap();
        assert_eq!(count().await, 3 * round);
    }
    assert_eq!(causality.bookmarks().len(), 1);
}

#[tokio::test]
async fn each_kind_of_read_shows_what_the_causality_holds() {
    let log = Log::new().await;
    let causality = Causality::new();
    let writer = log.writer().await.with_causality(&causality);
    let reader = log.reader().await.with_causality(&causality);
    for _ in 0..20 {
        let event = lent("b-1", "r-1");
        let id = event.id();
        let last = writer.append([event], AppendCondition::none()).await.unwrap().last();
        assert!(reader.event(id).await.unwrap().is_some());

        let last = last.max(
            writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().last(),
        );
        assert!(reader.head().await.unwrap() >= last);

        let last = writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        let newest = Query::new(&loans_of("b-1")).newest_first().limit(1);
        let events: Vec<_> = reader.stream(newest).await.unwrap().try_collect().await.unwrap();
        assert_eq!(events[0].sequence_number(), last.last());
    }
}

/// The replica that lags is not asked, although it is as good as the other one otherwise.
#[tokio::test]
async fn a_reader_never_sees_less_than_before() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    let reader = replicated.reader().await;
    let first = writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().last();
    replicated.cluster.wait_for_replay().await.unwrap();
    let [ahead, behind] = replicated.cluster.standbys() else { panic!("two replicas") };
    behind.pause_replay().await.unwrap();
    let last = writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().last();
    ahead.catch_up_with(replicated.cluster.primary()).await.unwrap();
    let causal = reader.with_causality(&Causality::new());

    let mut seen = SequenceNumber::ZERO;
    // The replica that is ahead may be left out at first, if its watcher was answered late.
    let mut left = 50;
    while left > 0 {
        let history = promptly(causal.query(Filter::everything())).await.unwrap();
        assert!(history.position() >= seen, "{} after {seen}", history.position());
        seen = history.position();
        left -= u32::from(seen == last);
    }
    // Without a causality, both replicas answer.
    for position in [first, last] {
        wait_until(async || {
            reader.query(Filter::everything()).await.unwrap().position() == position
        })
        .await;
    }

    behind.resume_replay().await.unwrap();
}

#[tokio::test]
async fn a_causality_travels_as_a_token() {
    let log = Log::new().await;
    let causality = Causality::new();
    let writer = log.writer().await.with_causality(&causality);
    let reader = log.reader().await;
    for round in 1..=10 {
        writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        let token = causality.to_string();

        let elsewhere: Causality = token.parse().unwrap();
        let history = reader.with_causality(&elsewhere).query(loans_of("b-1")).await.unwrap();

        assert_eq!(token.len(), 40);
        assert_eq!(history.events().len(), round);
    }
    let damaged = causality.to_string().replacen('A', "B", 1).parse::<Causality>();
    assert!(matches!(damaged, Err(Error::InvalidBookmark { .. })), "{damaged:?}");
}

//! Faults at every byte of a decision under the log's lock.
//!
//! A decision takes the lock after a conflict. The first attempt of each decision conflicts with a
//! competing writer, which appends to the same book while the attempt's append is held back. This
//! attempt is an ordinary read and append, so no fault is injected into it, but into everything
//! after it.
//!
//! Each pair of writers has a log of its own, because a connection with a fault may hold the lock
//! until the server's timeout expires.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use eddyline::RetryPolicy;
use fault_proxy::{Action, Direction, Fault, Proxy};
use futures_util::future::try_join_all;
use rand::RngExt;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::exchange::{EVENTS, Exchange, ONE_CONNECTION, ending, run_alongside, spread};
use crate::draft::{ConditionKind, Draft};
use crate::testbed::{Setting, Testbed};
use crate::writer::Writer;
use crate::{Campaign, Failure};

pub async fn run(testbed: &Testbed) -> Result<(), Failure> {
    let [first_attempt, whole] = measure(testbed).await?;
    let to_server = whole.to_server - first_attempt.to_server;
    let to_client = whole.to_client - first_attempt.to_client;
    testbed.recorder.add_exchange(
        Campaign::Locked,
        "a decision after its first conflict",
        to_server,
        to_client,
    );
    let points = whole.injection_points_after(first_attempt);
    // Decisions without faults and the competitors' appends are not included in this count.
    let count = testbed.plan.share(Campaign::Locked) as usize;
    let injections: Vec<_> = spread(count, points.len(), testbed.plan.seed)
        .map(|(point, variant)| Injection { point: points[point], variant })
        .collect();
    let pairs = (0..pairs(testbed)).map(|number| {
        let own = injections.iter().skip(number).step_by(pairs(testbed)).copied();
        inject_all(testbed, number, own.collect())
    });
    try_join_all(pairs).await.map(drop)
}

/// Measures the first attempt of a decision, and a whole decision. Without a retry policy there is
/// only the first attempt, and faults are injected into it.
async fn measure(testbed: &Testbed) -> Result<[Exchange; 2], Failure> {
    let mut pair = WriterPair::connect(testbed, pairs(testbed), 0).await?;
    let policies = [RetryPolicy::never(), pair.writer.store.retry_policy().clone()];
    let mut exchanges = [Exchange::default(); 2];
    for (policy, exchange) in policies.into_iter().zip(&mut exchanges) {
        pair.writer.store = pair.writer.store.with_retry_policy(policy);
        // The first measurement would include the preparation of statements.
        for _ in 0..MEASUREMENTS {
            let draft = pair.prepare().await?;
            let proxy = Arc::clone(&pair.proxy);
            (*exchange, ()) = Exchange::of(&proxy, pair.decide(draft)).await;
        }
    }
    let [first_attempt, whole] = exchanges;
    match testbed.plan.retry {
        false => Ok([Exchange::default(), whole]),
        true if testbed.recorder.tally(Campaign::Locked).escalated == MEASUREMENTS => {
            Ok([first_attempt, whole])
        }
        true => Err(Failure::NotEscalated),
    }
}

async fn inject_all(
    testbed: &Testbed,
    number: usize,
    injections: Vec<Injection>,
) -> Result<(), Failure> {
    let mut pair = WriterPair::connect(testbed, number, 1 + number).await?;
    for injection in injections.into_iter().take_while(|_| !testbed.plan.stop.is_set()) {
        let draft = pair.prepare().await?;
        pair.decide(draft).await;
        let fault = pair.inject(injection).await?;
        testbed.recorder.add_faults(Campaign::Locked, u64::from(fault.has_triggered()));
    }
    Ok(())
}

/// A writer that decides, and a competing writer that makes its first attempt conflict.
struct WriterPair {
    writer: Writer,
    proxy: Arc<Proxy>,
    competitor: Writer,
}

/// A fault to inject: its point, and the variant of what happens there.
#[derive(Clone, Copy, Debug)]
struct Injection {
    point: (Direction, u64),
    variant: usize,
}

impl WriterPair {
    async fn connect(testbed: &Testbed, number: usize, log: usize) -> Result<Self, Failure> {
        let setting = Setting { log, ..ONE_CONNECTION };
        let (proxy, clean_proxy) =
            (testbed.proxy(Campaign::Locked).await?, testbed.proxy(Campaign::Locked).await?);
        let connect = async |proxy, number| {
            let store = testbed.store(proxy, setting).await?;
            Ok(Writer::new(testbed, Campaign::Locked, number, store))
        };
        let writer = connect(&proxy, 2 * number).await?;
        let competitor = connect(&clean_proxy, 2 * number + 1).await?;
        Ok(Self { writer, proxy, competitor })
    }

    /// Prepares the competitor's append to the writer's next book. After this, the writer has a
    /// connection.
    async fn prepare(&mut self) -> Result<Draft, Failure> {
        self.writer.begin_book();
        self.writer.prepare(ConditionKind::Own, Some(1)).await
    }

    /// Decides on the book, with a conflict in the first attempt. The outcome is recorded.
    async fn decide(&mut self, draft: Draft) {
        let (sender, first_attempt) = oneshot::channel();
        let sender = Cell::new(Some(sender));
        let on_attempt = || {
            if let Some(sender) = sender.take() {
                let held = self.proxy.inject(Direction::ToServer, 0, Action::Stall);
                // The receiver lives as long as the decision.
                let _ = sender.send(held);
            }
        };
        let compete = async {
            if let Ok(held) = first_attempt.await {
                let _ = self.competitor.append(draft).await;
                held.release();
            }
        };
        run_alongside(self.writer.decide(ConditionKind::Own, Some(EVENTS), on_attempt), compete)
            .await;
    }

    async fn inject(&mut self, injection: Injection) -> Result<Fault, Failure> {
        let draft = self.prepare().await?;
        let Injection { point: (direction, after), variant } = injection;
        let action = match variant % 3 {
            0 => Action::Cut(ending(variant / 3)),
            _ => Action::Stall,
        };
        let fault = self.proxy.inject(direction, after, action);
        let pause = Duration::from_micros(self.writer.random.random_range(0..3_000));
        let proceed = async {
            fault.triggered().await;
            sleep(pause).await;
            match variant % 12 {
                // The bytes held back arrive after the decision has been answered.
                2 => return fault.disconnect_client(ending(variant / 12)),
                // Or after the timeouts of the store and of the server.
                5 => sleep(Duration::from_secs(3)).await,
                8 | 11 => fault.cut(ending(variant / 12)),
                _ => {}
            }
            fault.release();
        };
        run_alongside(self.decide(draft), proceed).await;
        fault.release();
        Ok(fault)
    }
}

/// Returns the number of pairs, so that there are as many writers as in other campaigns.
fn pairs(testbed: &Testbed) -> usize {
    testbed.plan.writers.div_ceil(2)
}

/// The number of measurements of an exchange.
const MEASUREMENTS: u64 = 3;

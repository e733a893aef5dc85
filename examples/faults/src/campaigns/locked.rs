//! Fire at every byte of a decision under the log's lock.
//!
//! A decision goes on under the lock when it has lost a round. Each loses its first one to a rival,
//! which appends to the same book while what was decided is on its way to the server. That round is
//! a read and an append like any others and goes unharmed; only what comes after it is struck.
//!
//! Each lane has a log of its own: who is struck may keep its lock until the server loses patience.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use eddyline::RetryPolicy;
use fault_proxy::{Action, Direction, Fault, Proxy};
use futures_util::future::try_join_all;
use rand::RngExt;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::exchange::{EVENTS, Exchange, ONE_CONNECTION, during, ending, spread};
use crate::draft::{Draft, Form};
use crate::site::{Setting, Site};
use crate::writer::Writer;
use crate::{Campaign, Failure};

pub async fn fight(site: &Site) -> Result<(), Failure> {
    let [lost, whole] = measure(site).await?;
    let (to_server, to_client) =
        (whole.to_server - lost.to_server, whole.to_client - lost.to_client);
    site.notes.measured(Campaign::Locked, "what is struck of a decision", to_server, to_client);
    let places = whole.places_from(lost);
    // The unharmed decisions before them, and the rivals' appends, come on top.
    let count = site.plan.share(Campaign::Locked) as usize;
    let blows: Vec<_> = spread(count, places.len(), site.plan.seed)
        .map(|(place, turn)| Blow { place: places[place], variant: turn })
        .collect();
    let lanes = (0..lanes(site)).map(|number| {
        let own = blows.iter().skip(number).step_by(lanes(site)).copied();
        strike_all(site, number, own.collect())
    });
    try_join_all(lanes).await.map(drop)
}

/// Measures a decision as far as it is lost, and to its end. Without a policy it has no other round,
/// and its first one is what there is to strike.
async fn measure(site: &Site) -> Result<[Exchange; 2], Failure> {
    let mut lane = Lane::enter(site, lanes(site), 0).await?;
    let policies = [RetryPolicy::never(), lane.writer.store.retry_policy().clone()];
    let mut exchanges = [Exchange::default(); 2];
    for (policy, exchange) in policies.into_iter().zip(&mut exchanges) {
        lane.writer.store = lane.writer.store.with_retry_policy(policy);
        // More than once: the first time statements are prepared.
        for _ in 0..MEASURED {
            let draft = lane.prepare().await?;
            let proxy = Arc::clone(&lane.proxy);
            (*exchange, ()) = Exchange::of(&proxy, lane.decide(draft)).await;
        }
    }
    let [lost, whole] = exchanges;
    match site.plan.retry {
        false => Ok([Exchange::default(), whole]),
        true if site.notes.tally(Campaign::Locked).escalated == MEASURED => Ok([lost, whole]),
        true => Err(Failure::NotEscalated),
    }
}

async fn strike_all(site: &Site, number: usize, blows: Vec<Blow>) -> Result<(), Failure> {
    let mut lane = Lane::enter(site, number, 1 + number).await?;
    for blow in blows.into_iter().take_while(|_| !site.plan.stop.is_set()) {
        let draft = lane.prepare().await?;
        lane.decide(draft).await;
        let fault = lane.strike(blow).await?;
        site.notes.struck(Campaign::Locked, u64::from(fault.has_triggered()));
    }
    Ok(())
}

/// A writer who decides, and one who is always there first.
struct Lane {
    writer: Writer,
    proxy: Arc<Proxy>,
    rival: Writer,
}

/// A fault to come.
#[derive(Clone, Copy, Debug)]
struct Blow {
    place: (Direction, u64),
    variant: usize,
}

impl Lane {
    async fn enter(site: &Site, number: usize, log: usize) -> Result<Self, Failure> {
        let setting = Setting { log, ..ONE_CONNECTION };
        let (proxy, unharmed) =
            (site.proxy(Campaign::Locked).await?, site.proxy(Campaign::Locked).await?);
        let enter = async |proxy, number| {
            let store = site.store(proxy, setting).await?;
            Ok(Writer::new(site, Campaign::Locked, number, store))
        };
        let writer = enter(&proxy, 2 * number).await?;
        let rival = enter(&unharmed, 2 * number + 1).await?;
        Ok(Self { writer, proxy, rival })
    }

    /// Prepares the rival's append to the writer's next book; then the writer has a connection.
    async fn prepare(&mut self) -> Result<Draft, Failure> {
        self.writer.begin_book();
        self.writer.prepare(Form::Own, Some(1)).await
    }

    /// Decides on the book, and loses the first round. What was told is in the notes.
    async fn decide(&mut self, draft: Draft) {
        let (decided, first) = oneshot::channel();
        let decided = Cell::new(Some(decided));
        let each_round = || {
            if let Some(decided) = decided.take() {
                let held = self.proxy.inject(Direction::ToServer, 0, Action::Stall);
                // Who waits for it is there as long as the decision.
                let _ = decided.send(held);
            }
        };
        let intrude = async {
            if let Ok(held) = first.await {
                let _ = self.rival.append(draft).await;
                held.release();
            }
        };
        during(self.writer.decide(Form::Own, Some(EVENTS), each_round), intrude).await;
    }

    async fn strike(&mut self, blow: Blow) -> Result<Fault, Failure> {
        let draft = self.prepare().await?;
        let Blow { place: (direction, after), variant } = blow;
        let action = match variant % 3 {
            0 => Action::Cut(ending(variant / 3)),
            _ => Action::Stall,
        };
        let fault = self.proxy.inject(direction, after, action);
        let pause = Duration::from_micros(self.writer.random.random_range(0..3_000));
        let go_on = async {
            fault.triggered().await;
            sleep(pause).await;
            match variant % 12 {
                // What was held back arrives when the decision has been answered.
                2 => return fault.disconnect_client(ending(variant / 12)),
                // Or when the store, and the server, have lost patience.
                5 => sleep(Duration::from_secs(3)).await,
                8 | 11 => fault.cut(ending(variant / 12)),
                _ => {}
            }
            fault.release();
        };
        during(self.decide(draft), go_on).await;
        fault.release();
        Ok(fault)
    }
}

/// There are as many writers, and rivals, as in other campaigns.
fn lanes(site: &Site) -> usize {
    site.plan.writers.div_ceil(2)
}

/// How often something is measured.
const MEASURED: u64 = 3;

use std::time::{Duration, Instant};

use console::{Progress, Stop};
use tokio::task::JoinSet;

use crate::args::Args;
use crate::client::Client;
use crate::failure::Failure;
use crate::session::{Live, Session};
use crate::tally::Ending;

/// Lets the clients work for as long as was asked for, or until a signal; returns how long that was.
pub(crate) async fn run(
    args: &Args,
    clients: Vec<Client>,
) -> Result<(Vec<Session>, Duration), Failure> {
    let stop = Stop::on_signals("the load");
    let live = clients.first().map(Client::live).unwrap_or_default();

    let started = Instant::now();
    let mut working: JoinSet<Session> =
        clients.into_iter().map(|client| client.work(stop.clone())).collect();
    let lasting = Duration::from_secs(args.seconds);
    watch(started, lasting, &live, &stop).await;
    let mut desks = Vec::new();
    while let Some(session) = working.join_next().await {
        desks.push(session.map_err(Failure::Client)?);
    }
    Ok((desks, started.elapsed()))
}

/// Shows how the load goes, until it has lasted long enough or is stopped.
async fn watch(started: Instant, lasting: Duration, live: &Live, stop: &Stop) {
    let mut progress = Progress::toward("load", lasting.as_millis() as u64);
    let mut ticks = tokio::time::interval(BETWEEN_LOOKS);
    let (mut before, mut since) = (0, started);
    let mut rate = 0.0;
    while started.elapsed() < lasting && !stop.is_set() {
        ticks.tick().await;
        let total = live.total();
        let passed = since.elapsed();
        if passed >= RATE_WINDOW {
            rate = (total - before) as f64 / passed.as_secs_f64();
            (before, since) = (total, Instant::now());
        }
        let endings = Ending::ALL.map(|ending| format!("{} {}", live.count(ending), ending.name()));
        let message = format!("{total} operations, {rate:.0}/s: {}", endings.join(", "));
        progress.show(started.elapsed().as_millis() as u64, &message);
    }
    stop.set();
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const RATE_WINDOW: Duration = Duration::from_secs(1);

use std::time::{Duration, Instant};

use console::{Progress, Stop};
use tokio::task::JoinSet;

use crate::args::Args;
use crate::client::Client;
use crate::error::LoadError;
use crate::metrics::Status;
use crate::session::{ClientSession, LiveCounts};

/// Runs the clients for the requested time or until a signal. Returns their sessions and the time
/// taken.
pub(crate) async fn run(
    args: &Args,
    clients: Vec<Client>,
) -> Result<(Vec<ClientSession>, Duration), LoadError> {
    let stop = Stop::on_signals("the load");
    let counts = clients.first().map(Client::live_counts).unwrap_or_default();

    let started = Instant::now();
    let mut tasks: JoinSet<ClientSession> =
        clients.into_iter().map(|client| client.run(stop.clone())).collect();
    let duration = Duration::from_secs(args.seconds);
    show_progress(started, duration, &counts, &stop).await;
    let mut sessions = Vec::new();
    while let Some(session) = tasks.join_next().await {
        sessions.push(session.map_err(LoadError::Client)?);
    }
    Ok((sessions, started.elapsed()))
}

/// Shows the progress of the load until its time is over or `stop` is set.
async fn show_progress(started: Instant, duration: Duration, counts: &LiveCounts, stop: &Stop) {
    let mut progress = Progress::toward("load", duration.as_millis() as u64);
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    let (mut counted, mut counted_at) = (0, started);
    let mut rate = 0.0;
    while started.elapsed() < duration && !stop.is_set() {
        ticks.tick().await;
        let total = counts.total();
        let passed = counted_at.elapsed();
        if passed >= RATE_WINDOW {
            rate = (total - counted) as f64 / passed.as_secs_f64();
            (counted, counted_at) = (total, Instant::now());
        }
        let statuses =
            Status::ALL.map(|status| format!("{} {}", counts.count(status), status.name()));
        let message = format!("{total} operations, {rate:.0}/s: {}", statuses.join(", "));
        progress.show(started.elapsed().as_millis() as u64, &message);
    }
    stop.set();
}

const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
const RATE_WINDOW: Duration = Duration::from_secs(1);

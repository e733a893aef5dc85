//! A worker process: it plays its part, and tells of it on standard output.

use std::io::{BufRead, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use console::error_chain;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::actors::{Assignment, Phase, Race, assemble};
use crate::fact::{Fact, Order};
use crate::failure::Failure;

/// Takes part in a race, as standard input says; every failure is told like any other fact.
pub async fn run() -> Result<(), Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::io("read the assignment"))?;
    let assignment: Assignment = serde_json::from_str(&line)
        .map_err(|error| Failure::io("read the assignment")(error.into()))?;

    let (orders, phase) = watch::channel(Phase::Waiting);
    std::thread::spawn(move || obey(&orders));
    let (facts, told) = mpsc::channel(1_000);
    let teller = std::thread::spawn(move || tell(told));

    if let Err(failure) = play(&assignment, phase, facts.clone()).await {
        let reason = error_chain(&failure);
        let _ = facts.send(Fact::Failed { reason }).await;
    }
    drop(facts);
    match tokio::task::spawn_blocking(|| teller.join()).await {
        Ok(Ok(told)) => told.map_err(Failure::io("tell of the race")),
        _ => Err(Failure::io("tell of the race")(std::io::ErrorKind::Other.into())),
    }
}

async fn play(
    assignment: &Assignment,
    phase: watch::Receiver<Phase>,
    facts: mpsc::Sender<Fact>,
) -> Result<(), Failure> {
    let mut orders = phase.clone();
    let race = Arc::new(Race::prepare(assignment, phase, facts).await?);
    let mut cast = assemble(&race, assignment).await?;
    race.tell(Fact::Ready).await;

    // A reader that fails early must not go unnoticed while writers write on.
    let mut pulse = tokio::time::interval(PULSE);
    loop {
        tokio::select! {
            ended = cast.writers.join_next() => match ended {
                Some(ended) => check(ended)?,
                None => break,
            },
            Some(ended) = cast.readers.join_next() => check(ended)?,
            _ = pulse.tick() => race.tell(race.tally()).await,
        }
    }
    race.tell(race.tally()).await;
    race.tell(Fact::Idle).await;
    // Where it has no reader there is nothing left to do, but somebody to give the last order.
    let _ = orders.wait_for(|phase| matches!(phase, Phase::Finishing { .. })).await;
    finish(cast.readers).await
}

async fn finish(mut readers: JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    while let Some(ended) = readers.join_next().await {
        check(ended)?;
    }
    Ok(())
}

/// Takes the end of an actor; that it panicked is a failure like others.
fn check(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.unwrap_or_else(|error| Err(Failure::io("go on")(error.into())))
}

/// Follows the orders on standard input; without anybody to give them, everything ends.
fn obey(phase: &watch::Sender<Phase>) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let Ok(order) = serde_json::from_str(&line) else { break };
        phase.send_replace(match order {
            Order::Finish { head } => Phase::Finishing { head },
            Order::Go => Phase::Racing,
            Order::Stop => Phase::Stopping,
        });
    }
    std::process::exit(1);
}

fn tell(mut facts: mpsc::Receiver<Fact>) -> std::io::Result<()> {
    let mut output = BufWriter::new(std::io::stdout().lock());
    while let Some(fact) = facts.blocking_recv() {
        serde_json::to_writer(&mut output, &fact)?;
        output.write_all(b"\n")?;
        if facts.is_empty() {
            output.flush()?;
        }
    }
    output.flush()
}

const PULSE: Duration = Duration::from_millis(250);

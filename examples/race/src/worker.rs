//! A worker process: it runs its share of the actors, and writes messages to standard output.

use std::io::{BufRead, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use console::error_chain;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::actors::{Assignment, Phase, Race, start_actors};
use crate::failure::Failure;
use crate::message::{Message, Order};

/// Runs a worker, controlled by standard input. Failures are reported as messages.
pub async fn run() -> Result<(), Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::io("read the assignment"))?;
    let assignment: Assignment = serde_json::from_str(&line)
        .map_err(|error| Failure::io("read the assignment")(error.into()))?;

    let (orders, phase) = watch::channel(Phase::Waiting);
    std::thread::spawn(move || read_orders(&orders));
    let (messages, receiver) = mpsc::channel(1_000);
    let output = std::thread::spawn(move || write_messages(receiver));

    if let Err(failure) = run_actors(&assignment, phase, messages.clone()).await {
        let reason = error_chain(&failure);
        let _ = messages.send(Message::Failed { reason }).await;
    }
    drop(messages);
    match tokio::task::spawn_blocking(|| output.join()).await {
        Ok(Ok(written)) => written.map_err(Failure::io("write to the main process")),
        _ => Err(Failure::io("write to the main process")(std::io::ErrorKind::Other.into())),
    }
}

async fn run_actors(
    assignment: &Assignment,
    phase: watch::Receiver<Phase>,
    messages: mpsc::Sender<Message>,
) -> Result<(), Failure> {
    let mut orders = phase.clone();
    let race = Arc::new(Race::prepare(assignment, phase, messages).await?);
    let mut actors = start_actors(&race, assignment).await?;
    race.send(Message::Ready).await;

    // Readers are watched as well, so that the failure of a reader ends the race at once.
    let mut interval = tokio::time::interval(TALLY_INTERVAL);
    loop {
        tokio::select! {
            ended = actors.writers.join_next() => match ended {
                Some(ended) => check(ended)?,
                None => break,
            },
            Some(ended) = actors.readers.join_next() => check(ended)?,
            _ = interval.tick() => race.send(race.tally()).await,
        }
    }
    race.send(race.tally()).await;
    race.send(Message::Idle).await;
    // A worker without readers has nothing left to do, but it must not end before the last order.
    let _ = orders.wait_for(|phase| matches!(phase, Phase::Finishing { .. })).await;
    finish(actors.readers).await
}

async fn finish(mut readers: JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    while let Some(ended) = readers.join_next().await {
        check(ended)?;
    }
    Ok(())
}

/// Returns the result of an actor's task. A panic is a failure like any other.
fn check(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.unwrap_or_else(|error| Err(Failure::io("finish an actor's task")(error.into())))
}

/// Follows the orders on standard input. At end of file the process ends.
fn read_orders(phase: &watch::Sender<Phase>) {
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

fn write_messages(mut messages: mpsc::Receiver<Message>) -> std::io::Result<()> {
    let mut output = BufWriter::new(std::io::stdout().lock());
    while let Some(message) = messages.blocking_recv() {
        serde_json::to_writer(&mut output, &message)?;
        output.write_all(b"\n")?;
        if messages.is_empty() {
            output.flush()?;
        }
    }
    output.flush()
}

const TALLY_INTERVAL: Duration = Duration::from_millis(250);

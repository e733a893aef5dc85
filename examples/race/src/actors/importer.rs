//! An actor that imports events, and repeats imports that it abandoned.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::unconditional::content;
use super::{ConsecutiveErrors, Race};
use crate::event::{NewEvent, ids, new_events};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::message::Message;
use crate::protocol::{EventStore, Protocol, to_event};

/// Imports until the race is over.
pub async fn run(race: &Race, mut random: SmallRng) -> Result<(), Failure> {
    let Protocol::Store(store) = &race.protocol else { return Ok(()) };
    race.wait_for_start().await;
    let mut errors = ConsecutiveErrors::default();
    while race.is_on() {
        let count = random.random_range(2..40);
        // Each event is an append of its own, because an import that ends early stores only some of
        // them.
        let events = (0..count).flat_map(|_| new_events([content(race, &mut random)], None));
        let events: Vec<_> = events.collect();
        import(race, store, &events, &mut random, &mut errors).await?;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..60_000))).await;
    }
    Ok(())
}

/// Repeats one import until it succeeds.
async fn import(
    race: &Race,
    store: &EventStore,
    events: &[NewEvent],
    random: &mut SmallRng,
    errors: &mut ConsecutiveErrors,
) -> Result<(), Failure> {
    // The events are built once: a repeated import must have identical events, including their
    // times.
    let imported: Result<Vec<_>, _> = events.iter().map(to_event).collect();
    let imported = imported.map_err(Failure::store("make an event"))?;
    let mut is_repeated = false;
    loop {
        let chunk = random.random_range(1..20);
        let import = store.import(imported.clone(), chunk);
        let timeout = Duration::from_micros(random.random_range(0..10_000));
        let outcome = match random.random_ratio(1, 4) {
            true => tokio::time::timeout(timeout, import).await.ok(),
            false => Some(import.await),
        };
        match outcome {
            Some(Ok((stored, range))) => {
                errors.reset();
                race.count(if is_repeated { Kind::RepeatedImport } else { Kind::Import });
                race.send(match range {
                    Some((first, last)) if stored == events.len() as u64 => {
                        Message::Accepted { ids: ids(events), first, last }
                    }
                    _ => Message::Stored { ids: ids(events) },
                })
                .await;
                return Ok(());
            }
            Some(Err(error)) if race.is_on() => errors.add(race, Vec::new(), error).await?,
            Some(Err(_)) => {
                race.send(Message::Unknown { ids: ids(events) }).await;
                return Ok(());
            }
            None => {}
        }
        is_repeated = true;
    }
}

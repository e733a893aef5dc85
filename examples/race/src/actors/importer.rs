//! Imports events, and runs an import again that it gave up half-way.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::unconditional::content;
use super::{Race, Trouble};
use crate::event::{NewEvent, ids, new_events};
use crate::fact::Fact;
use crate::failure::Failure;
use crate::kind::Kind;
use crate::protocol::{EventStore, Protocol, to_event};

/// Imports until the race is over.
pub async fn run(race: &Race, mut random: SmallRng) -> Result<(), Failure> {
    let Protocol::Store(store) = &race.protocol else { return Ok(()) };
    race.wait_for_start().await;
    let mut trouble = Trouble::default();
    while race.is_on() {
        let count = random.random_range(2..40);
        // Each is an append of its own: an import that ends early stores some of them.
        let events = (0..count).flat_map(|_| new_events([content(race, &mut random)], None));
        let events: Vec<_> = events.collect();
        import(race, store, &events, &mut random, &mut trouble).await?;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..60_000))).await;
    }
    Ok(())
}

/// Runs one import until it comes to its end.
async fn import(
    race: &Race,
    store: &EventStore,
    events: &[NewEvent],
    random: &mut SmallRng,
    trouble: &mut Trouble,
) -> Result<(), Failure> {
    // Made once: an event that is imported again is the same, its time included.
    let made: Result<Vec<_>, _> = events.iter().map(to_event).collect();
    let made = made.map_err(Failure::store("make an event"))?;
    let mut is_again = false;
    loop {
        let chunk = random.random_range(1..20);
        let import = store.import(made.clone(), chunk);
        let patience = Duration::from_micros(random.random_range(0..10_000));
        let imported = match random.random_ratio(1, 4) {
            true => tokio::time::timeout(patience, import).await.ok(),
            false => Some(import.await),
        };
        match imported {
            Some(Ok((stored, ends))) => {
                trouble.is_over();
                race.count(if is_again { Kind::ImportAgain } else { Kind::Import });
                race.tell(match ends {
                    Some((first, last)) if stored == events.len() as u64 => {
                        Fact::Accepted { ids: ids(events), first, last }
                    }
                    _ => Fact::Stored { ids: ids(events) },
                })
                .await;
                return Ok(());
            }
            Some(Err(fault)) if race.is_on() => trouble.met(race, Vec::new(), fault).await?,
            Some(Err(_)) => {
                race.tell(Fact::Doubtful { ids: ids(events) }).await;
                return Ok(());
            }
            None => {}
        }
        is_again = true;
    }
}

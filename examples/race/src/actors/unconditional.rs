//! Writers that append without a condition, or on the condition that no event at all was appended
//! since they read the head.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::{ConsecutiveErrors, Race};
use crate::boundary::FilterKind;
use crate::event::{Decision, ids, new_events};
use crate::failure::Failure;
use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::message::{Conflict, Message};
use crate::protocol::{Condition, Outcome, Reading, ReportedConflict};

/// Appends within the shared boundaries and outside them.
pub async fn run(race: &Race, mut random: SmallRng) -> Result<(), Failure> {
    race.wait_for_start().await;
    let mut errors = ConsecutiveErrors::default();
    while race.is_on() {
        if random.random_ratio(1, 4) {
            append_on_everything(race, &mut random, &mut errors).await?;
        }
        let events = if random.random() { 1 } else { random.random_range(2..6) };
        let events = new_events((0..events).map(|_| content(race, &mut random)), None);
        match race.append(&events, Condition::Unconditional, &mut random).await {
            None => {}
            Some(Outcome::Accepted { first, last }) => {
                let many = events.len() > 1;
                race.count(if many { Kind::UnconditionalMany } else { Kind::Unconditional });
                errors.reset();
                race.send(Message::Accepted { ids: ids(&events), first, last }).await;
            }
            Some(Outcome::Conflict(_)) => {
                let error = "an append without a condition failed with a conflict".to_owned();
                errors.add(race, ids(&events), error).await?;
            }
            Some(Outcome::Refused(error) | Outcome::Unknown(error)) => {
                errors.add(race, ids(&events), error).await?;
            }
        }
        // Without these pauses no decision would succeed.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..10_000))).await;
    }
    Ok(())
}

/// Appends on the condition that no event was appended since the head was read.
async fn append_on_everything(
    race: &Race,
    random: &mut SmallRng,
    errors: &mut ConsecutiveErrors,
) -> Result<(), Failure> {
    let Some(read) = race.protocol.read_head().await else { return Ok(()) };
    let Reading { count, position: read_at, condition } = match read {
        Ok(reading) => reading,
        Err(error) => return errors.add(race, Vec::new(), error).await,
    };
    let filter = FilterSpec::everything();
    let decision = Decision { filter: filter.clone(), since: read_at, count, read_at };
    let events = new_events([content(race, random)], Some(decision));
    match race.append(&events, condition, random).await {
        None => {}
        Some(Outcome::Accepted { first, last }) => {
            race.count(Kind::OnEverything);
            errors.reset();
            race.send(Message::Accepted { ids: ids(&events), first, last }).await;
        }
        Some(Outcome::Conflict(ReportedConflict { after, event, head })) => {
            race.count(Kind::OnEverything);
            let exclusivity = None;
            let conflict = Conflict { filter, read_at, after, event, head, exclusivity };
            race.send(Message::Conflict(conflict)).await;
            race.send(Message::Refused { ids: ids(&events), error: None }).await;
        }
        Some(Outcome::Refused(error) | Outcome::Unknown(error)) => {
            errors.add(race, ids(&events), error).await?;
        }
    }
    Ok(())
}

/// Makes type and payload of an event, within a shared boundary or outside all of them.
pub fn content(race: &Race, random: &mut SmallRng) -> (String, Value) {
    // With many writers, a fixed share of events within boundaries would make every decision with a
    // wide filter conflict.
    let most = u32::try_from(race.writers).unwrap_or(u32::MAX).max(2 * BOUNDARY_SHARE);
    if random.random_ratio(BOUNDARY_SHARE, most) {
        let kind = FilterKind::ALL[random.random_range(0..FilterKind::ALL.len())];
        race.boundaries.any(random).event(kind, random)
    } else {
        let book = format!("elsewhere-{}", random.random::<u16>());
        ("BookCopyAddedToCirculation".into(), json!({ "BookID": book }))
    }
}

/// The share of events within the shared boundaries is this divided by the number of writers, and
/// at most one half.
const BOUNDARY_SHARE: u32 = 8;

//! Writers who append whatever came before, or only if nothing came at all.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::{Race, Trouble};
use crate::boundary::FilterKind;
use crate::event::{Decision, ids, new_events};
use crate::fact::{Conflict, Fact};
use crate::failure::Failure;
use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::protocol::{Basis, Broken, Outcome, Reading};

/// Appends within the shared boundaries and beside them.
pub async fn run(race: &Race, mut random: SmallRng) -> Result<(), Failure> {
    race.wait_for_start().await;
    let mut trouble = Trouble::default();
    while race.is_on() {
        if random.random_ratio(1, 4) {
            append_on_everything(race, &mut random, &mut trouble).await?;
        }
        let events = if random.random() { 1 } else { random.random_range(2..6) };
        let events = new_events((0..events).map(|_| content(race, &mut random)), None);
        match race.append(&events, Basis::Anything, &mut random).await {
            None => {}
            Some(Outcome::Accepted { first, last }) => {
                let many = events.len() > 1;
                race.count(if many { Kind::UnconditionalMany } else { Kind::Unconditional });
                trouble.is_over();
                race.tell(Fact::Accepted { ids: ids(&events), first, last }).await;
            }
            Some(Outcome::Conflict(_)) => {
                let fault = "an append without condition met a conflict".to_owned();
                trouble.met(race, ids(&events), fault).await?;
            }
            Some(Outcome::Refused(fault) | Outcome::Unknown(fault)) => {
                trouble.met(race, ids(&events), fault).await?;
            }
        }
        // Without a break now and then nobody could decide anything.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..10_000))).await;
    }
    Ok(())
}

/// Appends on the condition that nothing came since the log's end was read.
async fn append_on_everything(
    race: &Race,
    random: &mut SmallRng,
    trouble: &mut Trouble,
) -> Result<(), Failure> {
    let Some(read) = race.protocol.read_end().await else { return Ok(()) };
    let Reading { count, position: read_at, basis } = match read {
        Ok(reading) => reading,
        Err(fault) => return trouble.met(race, Vec::new(), fault).await,
    };
    let filter = FilterSpec::everything();
    let decision = Decision { filter: filter.clone(), since: read_at, count, read_at };
    let events = new_events([content(race, random)], Some(decision));
    match race.append(&events, basis, random).await {
        None => {}
        Some(Outcome::Accepted { first, last }) => {
            race.count(Kind::OnEverything);
            trouble.is_over();
            race.tell(Fact::Accepted { ids: ids(&events), first, last }).await;
        }
        Some(Outcome::Conflict(Broken { after, event, head })) => {
            race.count(Kind::OnEverything);
            let immunity = None;
            let conflict = Conflict { filter, read_at, after, event, head, immunity };
            race.tell(Fact::Conflict(conflict)).await;
            race.tell(Fact::Refused { ids: ids(&events), fault: None }).await;
        }
        Some(Outcome::Refused(fault) | Outcome::Unknown(fault)) => {
            trouble.met(race, ids(&events), fault).await?;
        }
    }
    Ok(())
}

/// Makes type and payload of an event that breaks somebody's condition, or nobody's.
pub fn content(race: &Race, random: &mut SmallRng) -> (String, Value) {
    // A fixed share would, with many writers, let no decision by a wide filter through.
    let most = u32::try_from(race.writers).unwrap_or(u32::MAX).max(2 * INTRUSIONS);
    if random.random_ratio(INTRUSIONS, most) {
        let kind = FilterKind::ALL[random.random_range(0..FilterKind::ALL.len())];
        race.boundaries.any(random).event(kind, random)
    } else {
        let book = format!("elsewhere-{}", random.random::<u16>());
        ("BookCopyAddedToCirculation".into(), json!({ "BookID": book }))
    }
}

/// The share of events within the shared boundaries is this by the number of writers, and half of
/// them at most.
const INTRUSIONS: u32 = 8;

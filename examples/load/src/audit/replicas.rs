use console::error_chain;
use eddyline::{Error, Query, ReadOnly, SequenceNumber, SequencedEvent, Store};
use futures_util::TryStreamExt;

use super::findings::Findings;
use super::fingerprint::Fingerprint;
use super::read;
use crate::servers::AuditStores;

/// Checks that each replica has the same log as the primary, up to a position.
pub async fn check(
    stores: &AuditStores,
    query: &Query,
    head: SequenceNumber,
    primary: &Fingerprint,
    findings: &mut Findings,
) {
    for (name, error) in &stores.gone {
        findings.add(format!("{name} cannot be reached: {}", error_chain(error)));
    }
    for (name, replica) in &stores.replicas {
        let replica = replica.at_least(head);
        match read(&name.to_string(), &replica, query, |_| {}).await {
            Ok((fingerprint, _)) if fingerprint == *primary => {}
            Ok((fingerprint, _)) => {
                let shown = first_difference(&stores.primary, &replica, query).await;
                let shown = shown.unwrap_or_else(|error| {
                    format!("the first difference cannot be read: {}", error_chain(&error))
                });
                findings
                    .add(format!("{name} has {fingerprint}, the primary has {primary}: {shown}"));
            }
            Err(error) => {
                findings.add(format!("{name} cannot be compared: {}", error_chain(&error)));
            }
        }
    }
}

/// Describes the first event that two servers do not both have.
async fn first_difference(
    primary: &Store<ReadOnly>,
    replica: &Store<ReadOnly>,
    query: &Query,
) -> Result<String, Error> {
    let mut left = primary.stream(query).await?;
    let mut right = replica.stream(query).await?;
    loop {
        let (left, right) = (left.try_next().await?, right.try_next().await?);
        match (left, right) {
            (None, None) => return Ok("the difference is gone".to_owned()),
            (left, right) if left == right => {}
            (left, right) => {
                return Ok(format!(
                    "first the primary has {}, and the replica {}",
                    described(left.as_ref()),
                    described(right.as_ref()),
                ));
            }
        }
    }
}

fn described(event: Option<&SequencedEvent>) -> String {
    event.map_or_else(
        || "no more events".to_owned(),
        |event| {
            let (position, event_type, id) =
                (event.sequence_number(), event.event_type(), event.id());
            format!("event {position}, {event_type} {id}")
        },
    )
}

//! The audit: reads the whole log and checks it.

mod answer_check;
mod findings;
mod fingerprint;
mod inspection;
mod lists;
#[cfg(test)]
mod memory_library;
mod record;
mod replicas;
mod result;
mod rules;
mod sorted_replies;
mod stored_check;
mod table;
#[cfg(test)]
mod tests;

use console::Progress;
use eddyline::{Error, Filter, Query, ReadOnly, SequenceNumber, SequencedEvent, Store};
use futures_util::TryStreamExt;

use self::fingerprint::Fingerprint;
use self::inspection::{Inspected, Inspection};
use crate::LoadError;
use crate::replies::Replies;
use crate::servers::AuditStores;

pub use self::findings::Findings;
pub use self::result::{Audit, Checked};

/// Checks that the log on the primary keeps the rules of the library and agrees with the replies to
/// the clients, and that the replicas have the same log. It takes the replies out of `replies`.
///
/// # Errors
///
/// [`LoadError::Store`] if the primary cannot be read. A replica that cannot be read is a finding.
pub async fn audit(stores: &AuditStores, replies: Replies) -> Result<Audit, LoadError> {
    let mut inspection = Inspection::new(replies.take());
    let all = Query::new(&Filter::everything());
    let (primary, head) = read("primary", &stores.primary, &all, |event| inspection.check(event))
        .await
        .map_err(LoadError::Store)?;
    let Inspected { checked, mut findings, found_before, unexplained } = inspection.finish(head);
    replicas::check(stores, &all.up_to(head), head, &primary, &mut findings).await;
    let replicas = stores.replicas.len();
    let events = primary.events();
    Ok(Audit { events, replicas, checked, findings, found_before, unexplained })
}

/// Reads a log. Returns its fingerprint, and the head that the read saw.
async fn read(
    name: &str,
    store: &Store<ReadOnly>,
    query: &Query,
    mut each: impl FnMut(&SequencedEvent),
) -> Result<(Fingerprint, SequenceNumber), Error> {
    let mut fingerprint = Fingerprint::default();
    let head = store.head().await?;
    let mut progress = Progress::toward("audit", head.value());
    let mut events = store.stream(query).await?;
    while let Some(event) = events.try_next().await? {
        fingerprint.add(&event);
        each(&event);
        if fingerprint.events().is_multiple_of(PROGRESS_INTERVAL) {
            let message = format!("{name}: {} events", fingerprint.events());
            progress.show(event.sequence_number().value(), &message);
        }
    }
    drop(progress);
    let position = events.position().expect("a stream that ended without an error has a position");
    Ok((fingerprint, position))
}

/// The number of events between two updates of the progress.
const PROGRESS_INTERVAL: u64 = 1_000;

//! The audit: reads the whole log and checks it.

mod findings;
mod fingerprint;
mod reply_check;
mod rule_check;

use std::fmt;

use console::Progress;
use eddyline::{Error, Filter, Query, ReadOnly, SequenceNumber, SequencedEvent, Store};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use self::findings::Findings;
use self::fingerprint::Fingerprint;
use self::reply_check::ReplyCheck;
use self::rule_check::RuleCheck;
use crate::LoadError;
use crate::replies::Replies;
use crate::servers::AuditStores;

/// The result of an audit.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Audit {
    events: u64,
    replicas: usize,
    findings: Findings,
}

/// Checks that the log on the primary keeps the rules of the library and agrees with the replies to
/// the clients, and that the replicas have the same log.
pub async fn audit(stores: &AuditStores, replies: Replies) -> Result<Audit, LoadError> {
    let mut findings = Findings::default();
    let mut rule_check = RuleCheck::default();
    let mut reply_check = ReplyCheck::new(replies, &mut findings);
    let all = Query::new(&Filter::everything());
    let (primary, head) = read("primary", &stores.primary, &all, |event| {
        rule_check.check(event, &mut findings);
        reply_check.check(event, &mut findings);
    })
    .await
    .map_err(LoadError::Store)?;
    reply_check.finish(&mut findings);

    let all = all.up_to(head);
    for (number, replica) in stores.replicas.iter().enumerate() {
        let name = format!("replica-{number}");
        match read(&name, &replica.at_least(head), &all, |_| {}).await {
            Ok((fingerprint, _)) if fingerprint == primary => {}
            Ok((fingerprint, _)) => {
                findings.add(format!("{name} has {fingerprint}, the primary has {primary}"));
            }
            Err(behind @ Error::ReplicaBehind { .. }) => findings.add(behind.to_string()),
            Err(error) => return Err(LoadError::Store(error)),
        }
    }
    Ok(Audit { events: primary.events(), replicas: stores.replicas.len(), findings })
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
    let mut events = store.stream(query.clone()).await?;
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

impl Audit {
    /// Returns whether the audit has no findings.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, replicas, findings } = self;
        if findings.is_empty() {
            let subject =
                format!("{events} events, the same on the primary and {replicas} replicas");
            return writeln!(f, "audit: no findings in {subject}");
        }
        writeln!(f, "audit: {} findings in {events} events", findings.count())?;
        write!(f, "{findings}")
    }
}

/// The number of events between two updates of the progress.
const PROGRESS_INTERVAL: u64 = 1_000;

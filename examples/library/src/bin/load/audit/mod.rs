//! Proves that a log is right, by reading it from end to end.

mod accounts;
mod findings;
mod fingerprint;
mod rules;

use std::fmt;

use console::Progress;
use eddyline::{Error, Filter, Query, ReadOnly, SequenceNumber, SequencedEvent, Store};
use futures_util::TryStreamExt;
use serde::Serialize;

use self::accounts::Accounts;
use self::findings::Findings;
use self::fingerprint::Fingerprint;
use self::rules::Rules;
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::servers::Auditors;

/// Is what the audit came to.
#[derive(Serialize)]
pub(crate) struct Audit {
    events: u64,
    replicas: usize,
    findings: Findings,
}

/// Audits the primary's log against the rules of the library and against what the clients were
/// told, and the replicas' logs against the primary's.
pub(crate) async fn audit(auditors: &Auditors, ledger: Ledger) -> Result<Audit, Failure> {
    let mut findings = Findings::default();
    let mut rules = Rules::default();
    let mut accounts = Accounts::open(ledger, &mut findings);
    let all = Query::new(&Filter::everything());
    let (primary, head) = read("primary", &auditors.primary, &all, |event| {
        rules.apply(event, &mut findings);
        accounts.apply(event, &mut findings);
    })
    .await
    .map_err(Failure::Store)?;
    accounts.close(&mut findings);

    let all = all.up_to(head);
    for (number, replica) in auditors.replicas.iter().enumerate() {
        let name = format!("replica-{number}");
        match read(&name, &replica.at_least(head), &all, |_| {}).await {
            Ok((held, _)) if held == primary => {}
            Ok((held, _)) => findings.add(format!("{name} holds {held}, the primary {primary}")),
            Err(behind @ Error::ReplicaBehind { .. }) => findings.add(behind.to_string()),
            Err(error) => return Err(Failure::Store(error)),
        }
    }
    Ok(Audit { events: primary.events(), replicas: auditors.replicas.len(), findings })
}

/// Reads a log and returns what it holds, and where it ended.
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
        if fingerprint.events().is_multiple_of(EVENTS_BETWEEN_LOOKS) {
            let message = format!("{name}: {} events", fingerprint.events());
            progress.show(event.sequence_number().value(), &message);
        }
    }
    drop(progress);
    let position = events.position().expect("a stream that ended well knows its position");
    Ok((fingerprint, position))
}

impl Audit {
    /// Returns whether there is nothing to complain of.
    pub(crate) fn is_clean(&self) -> bool {
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

const EVENTS_BETWEEN_LOOKS: u64 = 1_000;

use tokio_postgres::Row;
use uuid::Uuid;

use super::head::version_of;
use super::statement::Statement;
use crate::SequenceNumber;
use crate::bookmark::Epoch;
use crate::log_name::LogName;

/// The epochs of a log on one server (Lemma 8).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct EpochList {
    pub(crate) current: Epoch,
    /// The former epochs, each with the head at its end.
    pub(crate) ended: Vec<(Epoch, SequenceNumber)>,
}

/// Renders the query for the epochs of a log.
pub(crate) fn epochs(log: &LogName) -> Statement<'static> {
    let version = version_of(log);
    let text = format!("SELECT version.epoch, version.ended_epochs, version.ends FROM {version}");
    Statement::without_params(text)
}

impl EpochList {
    /// Returns the position up to which the log has the events of an epoch. `None` if it does not
    /// know the epoch.
    pub(crate) fn end_of(&self, epoch: Epoch) -> Option<SequenceNumber> {
        if epoch == self.current {
            return Some(SequenceNumber::new(u64::MAX));
        }
        self.ended.iter().find(|(ended, _)| *ended == epoch).map(|(_, end)| *end)
    }

    /// Returns whether the log knows the end of an epoch.
    pub(crate) fn has_ended(&self, epoch: Epoch) -> bool {
        self.ended.iter().any(|(ended, _)| *ended == epoch)
    }

    /// Decodes the row of [`epochs`].
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let (ended, ends): (Vec<Uuid>, Vec<i64>) = (row.try_get(1)?, row.try_get(2)?);
        let ended = ended.into_iter().map(Epoch::new);
        let ends = ends.into_iter().map(SequenceNumber::from_bigint);
        Ok(Self { current: Epoch::new(row.try_get(0)?), ended: ended.zip(ends).collect() })
    }
}

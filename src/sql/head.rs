use std::fmt::Write as _;

use tokio_postgres::Row;

use super::epoch::end_of_epoch;
use super::param::{Jsonb, Param};
use super::read::undecodable;
use super::statement::{Params, Placeholder, Statement};
use crate::bookmark::Epoch;
use crate::log_name::LogName;
use crate::{Bookmark, Error, Role, SequenceNumber};

/// The state of a log in the snapshot of a read.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) position: SequenceNumber,
    epoch: Epoch,
    /// Whether the server is a standby.
    in_recovery: bool,
    /// For each bound of the read, the position up to which the log has the events of the bound's
    /// epoch. `None` if it does not know the epoch.
    ends: Vec<Option<i64>>,
}

/// Whether a log has reached the bounds of a read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BoundCheck {
    /// It will reach them if it goes on.
    Behind,
    /// It never will: the event at this position is lost. The log has the events of the position's
    /// epoch up to `ended`, if it has any.
    Lost {
        position: SequenceNumber,
        ended: Option<SequenceNumber>,
    },
    Reached,
}

impl Head {
    /// Returns what the server was in the snapshot.
    pub(crate) fn role(&self) -> Role {
        if self.in_recovery { Role::Replica } else { Role::Primary }
    }

    pub(crate) fn bookmark(&self) -> Bookmark {
        Bookmark::new(self.position, self.epoch)
    }

    /// Checks the bounds of the read that this is the answer to (Lemma 8).
    pub(crate) fn check(&self, bounds: &[Bookmark]) -> BoundCheck {
        let bounds = bounds.iter().zip(&self.ends);
        let checks =
            bounds.map(|(bound, end)| check_bound(bound, self.position, *end, self.in_recovery));
        checks.fold(BoundCheck::Reached, |all, one| match (all, one) {
            (BoundCheck::Lost { .. }, _) | (_, BoundCheck::Reached) => all,
            (_, one) => one,
        })
    }

    /// Decodes the row of [`head`], or the first row of a [`Reading`](super::Reading).
    pub(crate) fn decode(row: &Row) -> Result<Self, Error> {
        let fault = |fault: tokio_postgres::Error| undecodable(row, fault);
        let state: Jsonb<'_> = row.try_get(5).map_err(fault)?;
        let state: (bool, Vec<Option<i64>>) =
            serde_json::from_str(state.0).map_err(|fault| undecodable(row, fault))?;
        Ok(Self {
            position: SequenceNumber::from_bigint(row.try_get(0).map_err(fault)?),
            epoch: Epoch::new(row.try_get(1).map_err(fault)?),
            in_recovery: state.0,
            ends: state.1,
        })
    }
}

/// Checks whether a log with this head has reached a bookmark. It has the events of the bookmark's
/// epoch up to `end`, if it knows the epoch.
pub(super) fn check_bound(
    bound: &Bookmark,
    head: SequenceNumber,
    end: Option<i64>,
    in_recovery: bool,
) -> BoundCheck {
    let position = bound.position();
    match end {
        // The standby may not have replayed the beginning of the epoch.
        None if in_recovery => BoundCheck::Behind,
        None => BoundCheck::Lost { position, ended: None },
        Some(end) if position.to_bigint() > end => {
            BoundCheck::Lost { position, ended: Some(SequenceNumber::from_bigint(end)) }
        }
        Some(_) if position > head => BoundCheck::Behind,
        Some(_) => BoundCheck::Reached,
    }
}

/// Renders the read of the head, with the checks of bounds.
pub(super) fn head(log: &LogName, bounds: &[Bookmark]) -> Statement<'static> {
    let mut params = Params::with_capacity(bounds.len());
    let bounds = Bounds::bind_epochs(bounds, &mut params);
    let text = format!("SELECT {} FROM {}", bounds.columns(&log.table()), version_of(log));
    params.into_statement(text)
}

/// Renders the read of the head, which it keeps in the session for [`KEPT_HEAD`].
pub(super) fn keep_head(log: &LogName, bounds: &[Bookmark]) -> Statement<'static> {
    let head = head(log, bounds);
    let text = format!(
        "SELECT head.*, set_config('eddyline.head', head.sequence_number::text, false)
         FROM ({}) AS head",
        head.text
    );
    Statement { text: text.into(), ..head }
}

/// The head that [`keep_head`] has read in the session.
pub(super) const KEPT_HEAD: &str = "(SELECT current_setting('eddyline.head')::bigint)";

/// The bounds of a read, with their epochs as parameters of the statement.
pub(super) struct Bounds<'b>(Vec<(&'b Bookmark, Option<Placeholder>)>);

impl<'b> Bounds<'b> {
    pub(super) fn bind_epochs(bounds: &'b [Bookmark], params: &mut Params<'_>) -> Self {
        let mut bind = |bound: &Bookmark| Some(params.bind(Param::Uuid(bound.epoch()?.id())));
        Self(bounds.iter().map(|bound| (bound, bind(bound))).collect())
    }

    /// Renders the columns of the row that [`Head::decode`] decodes, to be selected from
    /// [`version_of`] the log.
    ///
    /// They have the types of an event's columns, so that they can be rows of one answer. No event
    /// has an empty type.
    pub(super) fn columns(&self, table: &str) -> String {
        let ends = self.0.iter().map(|(_, epoch)| match epoch {
            Some(epoch) => end_of_epoch(epoch),
            None => i64::MAX.to_string(),
        });
        let ends: Vec<_> = ends.collect();
        format!(
            "(SELECT coalesce(max(sequence_number), 0) FROM {table}) AS sequence_number,
             version.epoch, NULL::timestamptz, NULL::timestamptz, ''::text,
             jsonb_build_array(pg_is_in_recovery(), jsonb_build_array({})), NULL::jsonb",
            ends.join(", ")
        )
    }

    /// Renders a condition that keeps the server from reading events unless the log has reached all
    /// bounds. Empty without bounds.
    ///
    /// It does not depend on a row of the log, so the server evaluates it once, before it reads.
    pub(super) fn condition(&self, log: &LogName, params: &mut Params<'_>) -> String {
        let mut reached = "true".to_owned();
        for (bound, epoch) in &self.0 {
            let position = params.bind(Param::BigInt(bound.position().to_bigint()));
            let table = log.table();
            let _ = write!(
                reached,
                " AND {position} <= (SELECT coalesce(max(sequence_number), 0) FROM {table})"
            );
            if let Some(epoch) = epoch {
                let _ = write!(reached, " AND {position} <= {}", end_of_epoch(epoch));
            }
        }
        match self.0.is_empty() {
            true => String::new(),
            false => format!(" AND (SELECT {reached} FROM {})", version_of(log)),
        }
    }
}

/// Renders the row of a log in `eddyline_schema`, named `version`.
pub(super) fn version_of(log: &LogName) -> String {
    let (schema, name) = (log.schema(), log.log());
    format!("\"{schema}\".eddyline_schema AS version WHERE version.log = '{name}'")
}

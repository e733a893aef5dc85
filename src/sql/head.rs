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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// A log, as the model has it.
    #[derive(Clone, Default)]
    struct ModelLog {
        /// The number and the identity of each event.
        events: Vec<(u64, u64)>,
        epoch: u128,
        ended: Vec<(u128, u64)>,
        /// The incarnation that appends in the epoch.
        server: u64,
    }

    impl ModelLog {
        fn head(&self) -> u64 {
            self.events.last().map_or(0, |(number, _)| *number)
        }

        fn up_to(&self, number: u64) -> &[(u64, u64)] {
            let count = self.events.iter().take_while(|(one, _)| *one <= number).count();
            &self.events[..count]
        }

        fn check(&self, bookmark: Bookmark) -> BoundCheck {
            // As `end_of_epoch` renders it.
            let epoch = bookmark.epoch().map_or(self.epoch, |epoch| epoch.id().as_u128());
            let ended = self.ended.iter().find(|(one, _)| *one == epoch);
            let end = match epoch == self.epoch {
                true => Some(i64::MAX),
                false => ended.map(|(_, end)| *end as i64),
            };
            check_bound(&bookmark, SequenceNumber::new(self.head()), end, false)
        }
    }

    /// A server with a log: each state that the log had, the present one last.
    struct ModelServer {
        incarnation: u64,
        states: Vec<ModelLog>,
    }

    #[derive(Clone, Debug)]
    enum HistoryStep {
        /// A server appends. The number leaves so many out.
        Append(usize, u64),
        Restart(usize),
        /// A server begins with a former state of another one: a standby is promoted, or a backup
        /// or a dump restored.
        Copy(usize, prop::sample::Index),
        /// A reader notes a position of a present or former state: a standby may lag.
        See(usize, prop::sample::Index, prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = HistoryStep> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            4 => (0_usize..6, 0_u64..3).prop_map(|(server, gap)| HistoryStep::Append(server, gap)),
            1 => (0_usize..6).prop_map(HistoryStep::Restart),
            1 => (0_usize..6, index()).prop_map(|(server, at)| HistoryStep::Copy(server, at)),
            3 => (0_usize..6, index(), index()).prop_map(|(one, at, n)| HistoryStep::See(one, at, n)),
        ]
    }

    proptest! {
        /// Lemma 8: a log that has reached a bookmark has the events of its snapshot. And it
        /// refuses none if it goes on from that snapshot.
        #[test]
        fn a_log_reaches_exactly_the_bookmarks_whose_events_it_has(steps in vec(step(), 0..80)) {
            let mut unique = 0..;
            let mut next = || unique.next().unwrap();
            let mut servers = vec![ModelServer { incarnation: next(), states: vec![ModelLog::default()] }];
            servers[0].states[0].server = u64::MAX;
            let mut seen = Vec::new();
            for step in steps {
                let count = servers.len();
                match step {
                    HistoryStep::Append(server, gap) => {
                        let ModelServer { incarnation, states } = &mut servers[server % count];
                        let mut log = states.last().unwrap().clone();
                        if log.server != *incarnation {
                            log.ended.push((log.epoch, log.head()));
                            (log.epoch, log.server) = (u128::from(next()) + 1, *incarnation);
                        }
                        log.events.push((log.head() + 1 + gap, next()));
                        states.push(log);
                    }
                    HistoryStep::Restart(server) => servers[server % count].incarnation = next(),
                    HistoryStep::Copy(server, at) => {
                        let states = &servers[server % count].states;
                        let states = states[..=at.index(states.len())].to_vec();
                        servers.push(ModelServer { incarnation: next(), states });
                    }
                    HistoryStep::See(server, at, number) => {
                        let server = server % count;
                        let at = at.index(servers[server].states.len());
                        let log = servers[server].states[at].clone();
                        let number = number.index(log.head() as usize + 1) as u64;
                        let epoch = Epoch::new(Uuid::from_u128(log.epoch));
                        let bookmark = Bookmark::new(SequenceNumber::new(number), epoch);
                        seen.push((bookmark, log, server));
                    }
                }
            }
            for (bookmark, log, server) in &seen {
                let number = bookmark.position().value();
                for state in servers.iter().flat_map(|server| &server.states) {
                    if state.check(*bookmark) == BoundCheck::Reached {
                        prop_assert_eq!(state.up_to(number), log.up_to(number));
                    }
                }
                let present = servers[*server].states.last().unwrap();
                prop_assert_eq!(present.check(*bookmark), BoundCheck::Reached);
            }
        }
    }
}

use crate::plan::Group;
use crate::report::{Asked, Report, Shares};
use crate::tally::Outcomes;

impl Report {
    /// Returns what was got, to be compared with what was asked for.
    ///
    /// The shares are those of the answered operations: success, idempotent or rejected. The share
    /// of lost rounds also counts the commands that ended with a conflict.
    pub fn got(&self) -> Asked {
        let commands = self.outcomes(|group| !group.is_query());
        let answered = commands.answered();
        let group = |wanted| share(self.outcomes(|group| group == wanted).answered(), answered);
        let queries = self.outcomes(Group::is_query).answered();
        Asked {
            lending: group(Group::Lending),
            circulation: group(Group::Circulation),
            readers: group(Group::Readers),
            queries: share(queries, queries + answered),
            outcomes: Shares {
                success: share(commands.success, answered),
                idempotent: share(commands.idempotent, answered),
                rejected: share(commands.rejected, answered),
            },
            lost_rounds: share(self.load.commands_with_lost_rounds, answered + commands.conflict),
        }
    }

    /// Returns the sum of the outcomes of the operations in some groups.
    pub(in crate::report) fn outcomes(&self, is_counted: impl Fn(Group) -> bool) -> Outcomes {
        let operations = self.load.operations.values();
        let counted = operations.filter(|operation| is_counted(operation.group));
        counted.fold(Outcomes::default(), |sum, operation| sum.plus(&operation.outcomes))
    }
}

impl Asked {
    /// Returns the difference of each share to another one.
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            lending: self.lending - other.lending,
            circulation: self.circulation - other.circulation,
            readers: self.readers - other.readers,
            queries: self.queries - other.queries,
            outcomes: Shares {
                success: self.outcomes.success - other.outcomes.success,
                idempotent: self.outcomes.idempotent - other.outcomes.idempotent,
                rejected: self.outcomes.rejected - other.outcomes.rejected,
            },
            lost_rounds: self.lost_rounds - other.lost_rounds,
        }
    }
}

impl Outcomes {
    /// Returns the number of operations that were answered: success, idempotent or rejected.
    pub fn answered(&self) -> u64 {
        self.success + self.idempotent + self.rejected
    }

    /// Returns the sum of two.
    fn plus(&self, other: &Self) -> Self {
        Self {
            success: self.success + other.success,
            idempotent: self.idempotent + other.idempotent,
            rejected: self.rejected + other.rejected,
            conflict: self.conflict + other.conflict,
            error: self.error + other.error,
        }
    }
}

impl Group {
    /// Returns whether it is the group of the queries.
    pub fn is_query(self) -> bool {
        self == Self::Queries
    }
}

/// Returns the share of a part. It is zero if there is no whole.
fn share(part: u64, whole: u64) -> f64 {
    super::per_unit(part as f64, whole as f64).unwrap_or(0.0)
}

use super::Group;

/// What a load consists of, in shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    groups: [f64; 3],
    queries: f64,
    lists: f64,
    idempotent: f64,
    rejected: f64,
    lost_rounds: f64,
}

/// What a load should consist of, in percent.
#[derive(Clone, Debug, PartialEq)]
pub struct MixOptions {
    /// The shares of lending, circulation and reader management among the commands.
    pub groups: Vec<f64>,
    /// The share of queries among all operations.
    pub queries: f64,
    /// The share of lists among the queries.
    pub lists: f64,
    /// The share of commands that have nothing to change.
    pub idempotent: f64,
    /// The share of commands that the rules forbid.
    pub rejected: f64,
    /// The share of commands that lose a round, because another append was first.
    pub lost_rounds: f64,
}

/// An error in the shares of a load.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum MixError {
    /// There are not three groups.
    #[error("--mix needs three shares, of lending, circulation and readers, but has {0}")]
    GroupCount(usize),

    /// The shares of the groups do not add up.
    #[error("the shares of --mix must add up to 100, but their sum is {0}")]
    GroupSum(f64),

    /// There are more lost rounds than contended loans can cause.
    #[error(
        "--lost-rounds {asked} is too high: pairs of loans cause them, and {lending} % lending in \
         --mix allows at most {highest}"
    )]
    LostRounds {
        /// The share that was asked for, in percent.
        asked: f64,
        /// The highest share that is possible, in percent.
        highest: f64,
        /// The share of lending, in percent.
        lending: f64,
    },

    /// A share is not a number between 0 and 100.
    #[error("{option} must be between 0 and 100, not {value}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its value.
        value: f64,
    },

    /// No command could succeed.
    #[error(
        "--idempotent {idempotent} and --rejected {rejected} together must be at most 90, so that \
         there is something to repeat and to forbid"
    )]
    Success {
        /// The share of idempotent commands, in percent.
        idempotent: f64,
        /// The share of rejected commands, in percent.
        rejected: f64,
    },
}

impl MixOptions {
    /// Checks the shares.
    ///
    /// # Errors
    ///
    /// [`MixError`] names the option and what it allows.
    pub fn check(&self) -> Result<Mix, MixError> {
        let Self { groups, queries, lists, idempotent, rejected, lost_rounds } = self;
        let named = [
            ("--queries", *queries),
            ("--lists", *lists),
            ("--idempotent", *idempotent),
            ("--rejected", *rejected),
            ("--lost-rounds", *lost_rounds),
        ];
        let all =
            named.into_iter().chain(groups.iter().map(|share| ("each share of --mix", *share)));
        for (option, value) in all {
            if !(0.0..=100.0).contains(&value) {
                return Err(MixError::Range { option, value });
            }
        }
        let &[lending, circulation, readers] = groups.as_slice() else {
            return Err(MixError::GroupCount(groups.len()));
        };
        let sum: f64 = groups.iter().sum();
        if (sum - 100.0).abs() > ROUNDING {
            return Err(MixError::GroupSum(sum));
        }
        if idempotent + rejected > MAX_WITHOUT_SUCCESS {
            let (idempotent, rejected) = (*idempotent, *rejected);
            return Err(MixError::Success { idempotent, rejected });
        }
        let highest = lending / 4.0;
        if *lost_rounds > highest {
            return Err(MixError::LostRounds { asked: *lost_rounds, highest, lending });
        }
        Ok(Mix {
            groups: [lending, circulation, readers].map(|percent| percent / 100.0),
            queries: queries / 100.0,
            lists: lists / 100.0,
            idempotent: idempotent / 100.0,
            rejected: rejected / 100.0,
            lost_rounds: lost_rounds / 100.0,
        })
    }
}

impl Mix {
    /// Returns the share of a group among the commands, or that of queries among all operations.
    pub fn share(&self, group: Group) -> f64 {
        let [lending, circulation, readers] = self.groups;
        match group {
            Group::Circulation => circulation,
            Group::Lending => lending,
            Group::Queries => self.queries,
            Group::Readers => readers,
        }
    }

    /// Returns the share of lists among the queries.
    pub fn lists(&self) -> f64 {
        self.lists
    }

    /// Returns the share of commands that have nothing to change.
    pub fn idempotent(&self) -> f64 {
        self.idempotent
    }

    /// Returns the share of commands that the rules forbid.
    pub fn rejected(&self) -> f64 {
        self.rejected
    }

    /// Returns the share of commands that lose a round.
    pub fn lost_rounds(&self) -> f64 {
        self.lost_rounds
    }

    /// Returns the number of pairs that want the same copy, per command. Half of the pairs do,
    /// unless this would reject more commands than asked.
    pub(super) fn pairs_for_one_copy(&self) -> f64 {
        (self.lost_rounds / 2.0).min(self.rejected)
    }

    /// Returns the number of pairs that use the same card, per command.
    pub(super) fn pairs_with_one_card(&self) -> f64 {
        self.lost_rounds - self.pairs_for_one_copy()
    }

    /// Returns the chances that a command of a single person is to be idempotent, and that it is to
    /// be rejected.
    pub(super) fn chances_alone(&self) -> (f64, f64) {
        let alone = (1.0 - 2.0 * self.lost_rounds).max(f64::MIN_POSITIVE);
        (self.idempotent / alone, (self.rejected - self.pairs_for_one_copy()) / alone)
    }
}

/// The deviation of a sum that is due to rounding.
const ROUNDING: f64 = 1e-6;
/// The largest share of commands that do not succeed, in percent.
const MAX_WITHOUT_SUCCESS: f64 = 90.0;

#[cfg(test)]
mod tests {
    use super::*;

    impl MixOptions {
        /// Returns the options that the program has by default.
        pub fn usual() -> Self {
            Self {
                groups: vec![70.0, 25.0, 5.0],
                queries: 20.0,
                lists: 0.5,
                idempotent: 5.0,
                rejected: 8.0,
                lost_rounds: 2.0,
            }
        }
    }

    #[test]
    fn accepts_shares_that_add_up() {
        let mix = MixOptions::usual().check().unwrap();

        assert_eq!(mix.share(Group::Circulation), 0.25);
        assert_eq!(mix.pairs_for_one_copy() + mix.pairs_with_one_card(), mix.lost_rounds());
    }

    #[test]
    fn names_the_share_that_is_wrong() {
        let negative = MixOptions { groups: vec![80.0, 25.0, -5.0], ..MixOptions::usual() };
        let unknown = MixOptions { queries: f64::NAN, ..MixOptions::usual() };
        let two = MixOptions { groups: vec![70.0, 30.0], ..MixOptions::usual() };
        let more = MixOptions { groups: vec![70.0, 25.0, 6.0], ..MixOptions::usual() };
        let failing = MixOptions { idempotent: 50.0, rejected: 41.0, ..MixOptions::usual() };
        let contended = MixOptions { lost_rounds: 18.0, ..MixOptions::usual() };

        assert!(matches!(negative.check(), Err(MixError::Range { .. })));
        assert!(matches!(unknown.check(), Err(MixError::Range { option: "--queries", .. })));
        assert_eq!(two.check(), Err(MixError::GroupCount(2)));
        assert_eq!(more.check(), Err(MixError::GroupSum(101.0)));
        assert!(matches!(failing.check(), Err(MixError::Success { .. })));
        assert!(matches!(contended.check(), Err(MixError::LostRounds { highest: 17.5, .. })));
    }
}

use std::time::Duration;

use super::fault::duration_text;
use super::script_check::{ScriptCheck, next_failover};
use super::{Action, Fault, FaultError};
use crate::servers::{Preparations, ServerName, ServerSettings};

/// The faults that were asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Script(Vec<Fault>);

/// Faults that can be carried out on the servers of a load, in the order of their times.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckedScript {
    pub(super) steps: Vec<Step>,
}

/// A step of a script.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Something is done to a server, and undone if it lasts for a time.
    Disturbance { fault: Fault, server: usize },
    /// A replica becomes the primary.
    Promotion {
        fault: Fault,
        /// The fault that killed the primary before. Without it, the primary is shut down.
        kill: Option<Fault>,
        /// The number and the index of the replica.
        replica: u16,
        server: usize,
        /// The index of the replica that commits of the new primary wait for, because it will be
        /// promoted after the new primary was killed.
        next: Option<usize>,
    },
}

impl Script {
    /// Creates a script.
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// Parses faults, each in a text of its own.
    ///
    /// # Errors
    ///
    /// [`ScriptError::Fault`] for the first text that is not a fault.
    pub fn parse(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, ScriptError> {
        let fault = |text: &str| {
            let failed = |source| ScriptError::Fault { text: text.to_owned(), source };
            text.parse().map_err(failed)
        };
        texts.into_iter().map(|text| fault(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Checks that all faults can be carried out: that their servers exist and can be disturbed,
    /// that they are undone before the end of the load, and that they do not overlap.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] for the first fault, in the order of their times, for which this is not so.
    pub fn check(
        &self,
        settings: &ServerSettings,
        duration: Duration,
    ) -> Result<CheckedScript, ScriptError> {
        let mut faults = self.0.clone();
        faults.sort_by_key(|fault| fault.at);
        if let (Some(fault), Some(_)) = (faults.first(), &settings.primary) {
            return Err(ScriptError::Given { fault: fault.clone() });
        }
        let mut check = ScriptCheck::new(settings.replicas, duration);
        for fault in faults {
            check.add(fault)?;
        }
        Ok(check.into_script())
    }
}

impl CheckedScript {
    /// Returns what the faults need from the servers before the load begins.
    ///
    /// If a replica is promoted after the primary was killed, commits wait for it from the
    /// beginning. So a fault of that replica before its promotion holds them up.
    pub fn preparations(&self) -> Preparations {
        let is_promotion = |step: &Step| matches!(step, Step::Promotion { .. });
        let slowed = self.steps.iter().filter_map(|step| match step {
            Step::Disturbance { fault, server } if fault.action == Action::Slow => Some(*server),
            _ => None,
        });
        Preparations {
            has_promotion: self.steps.iter().any(is_promotion),
            synchronous: next_failover(&self.steps),
            slowed: slowed.collect(),
        }
    }

    /// Returns whether there are no faults.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// The error of a script that cannot be carried out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScriptError {
    /// The load ends before the fault begins or is undone.
    #[error(
        "`{fault}` does not end before the load, which takes {}: choose an earlier time, a shorter \
         `for` or a longer load", duration_text(*duration)
    )]
    AfterTheEnd {
        /// The fault.
        fault: Fault,
        /// The duration of the load.
        duration: Duration,
    },
    /// A text is not a fault.
    #[error("cannot read the fault `{text}`")]
    Fault {
        /// The text.
        text: String,
        /// The reason.
        source: FaultError,
    },
    /// The servers were not started by the load generator.
    #[error(
        "`{fault}` cannot be done to given servers: leave out the address of the primary, so that \
         the load generator starts servers of its own"
    )]
    Given {
        /// The fault.
        fault: Fault,
    },
    /// There is no such server.
    #[error("`{fault}` is about a server that does not exist: there are {}", listed(servers))]
    NoServer {
        /// The fault.
        fault: Fault,
        /// The servers at that time.
        servers: Vec<ServerName>,
    },
    /// Another fault has not been undone when the fault begins.
    #[error("`{fault}` begins before `{earlier}` is undone: choose another time or server")]
    Overlap {
        /// The fault.
        fault: Fault,
        /// The earlier one.
        earlier: Fault,
    },
    /// The replica was promoted before.
    #[error(
        "`{fault}` is about a replica that `{promotion}` makes the primary: the former primary has \
         the name replica-{former} then"
    )]
    Promoted {
        /// The fault.
        fault: Fault,
        /// The promotion.
        promotion: Fault,
        /// The number of the former primary.
        former: u16,
    },
}

fn listed(servers: &[ServerName]) -> String {
    let names: Vec<_> = servers.iter().map(ToString::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const MINUTES: Duration = Duration::from_secs(120);

    fn settings(replicas: u16) -> ServerSettings {
        ServerSettings {
            primary: None,
            replica_addresses: Vec::new(),
            replicas,
            pg_bin: None,
            log: "events".to_owned(),
            clients: 8,
            fsync: true,
        }
    }

    fn check(texts: &[&str]) -> Result<CheckedScript, ScriptError> {
        Script::parse(texts).unwrap().check(&settings(2), MINUTES)
    }

    fn refused(texts: &[&str]) -> String {
        check(texts).unwrap_err().to_string()
    }

    #[test]
    fn faults_of_different_servers_may_overlap() {
        let script = check(&[
            "60s kill primary for 3s",
            "30s pause replica-1 for 50s",
            "61s slow replica-0",
            "70s restart replica-0",
        ])
        .unwrap();

        assert_eq!(script.steps.len(), 4);
        assert_eq!(script.preparations().slowed, BTreeSet::from([1]));
        assert!(!script.preparations().has_promotion);
    }

    #[test]
    fn a_fault_needs_a_server_that_exists() {
        let error = refused(&["30s pause replica-2"]);

        assert!(error.contains("primary, replica-0, replica-1"), "{error}");
    }

    #[test]
    fn a_fault_ends_before_the_load() {
        for text in ["120s restart primary", "116s kill primary", "100s freeze primary for 21s"] {
            let error = refused(&[text]);

            assert!(error.contains("takes 2m") && error.contains(text.split_once(' ').unwrap().1));
        }
    }

    #[test]
    fn given_servers_are_not_disturbed() {
        let given = ServerSettings { primary: Some("postgres://a/b".to_owned()), ..settings(2) };
        let script = Script::parse(["1s kill primary"]).unwrap();

        let error = script.check(&given, MINUTES).unwrap_err();

        assert!(matches!(error, ScriptError::Given { .. }));
        assert_eq!(Script::default().check(&given, MINUTES), Ok(CheckedScript::default()));
    }

    #[test]
    fn a_server_has_one_fault_at_a_time() {
        for texts in [
            ["60s kill replica-0 for 3s", "62s pause replica-0"],
            ["60s restart primary", "60s freeze primary"],
            ["60s freeze primary for 3s", "61s promote replica-0"],
            ["60s pause replica-1 for 3s", "61s promote replica-0"],
            ["60s kill primary for 3s", "61s restart primary"],
        ] {
            let error = check(&texts).unwrap_err();

            assert!(matches!(error, ScriptError::Overlap { .. }), "{texts:?}: {error}");
        }
    }

    #[test]
    fn a_killed_primary_is_replaced_by_a_promoted_replica() {
        let script = check(&["62s promote replica-1", "60s kill primary"]).unwrap();

        let [Step::Promotion { kill: Some(kill), replica: 1, server: 2, next: None, .. }] =
            &script.steps[..]
        else {
            panic!("{script:?}");
        };
        assert_eq!(kill.to_string(), "1m kill primary for 5s");
        assert_eq!(script.preparations().synchronous, Some(2));
    }

    #[test]
    fn a_promotion_after_the_kill_is_undone_is_a_promotion_of_its_own() {
        let script = check(&["60s kill primary for 1s", "62s promote replica-1"]).unwrap();

        assert_eq!(script.steps.len(), 2);
        assert_eq!(script.preparations().synchronous, None);
        assert!(script.preparations().has_promotion);
    }

    #[test]
    fn a_promoted_replica_is_named_primary() {
        let error = refused(&["30s promote replica-0", "60s promote replica-0"]);
        assert!(error.contains("replica-2"), "{error}");

        let script = check(&["30s promote replica-0", "60s freeze primary"]).unwrap();
        assert!(matches!(script.steps[1], Step::Disturbance { server: 1, .. }));
    }

    #[test]
    fn a_former_primary_can_be_promoted_again() {
        let script =
            check(&["30s promote replica-0", "59s kill primary", "60s promote replica-2"]).unwrap();

        let next = script.steps.iter().map(|step| match step {
            Step::Promotion { server, next, .. } => (*server, *next),
            Step::Disturbance { .. } => panic!("{step:?}"),
        });
        assert_eq!(next.collect::<Vec<_>>(), [(1, Some(0)), (0, None)]);
    }

    proptest! {
        /// Each fault of a checked script is in exactly one step, and a server has one disturbance
        /// at a time.
        #[test]
        fn a_checked_script_has_each_fault_once_and_no_overlaps(
            drawn in proptest::collection::vec((0_u64..8, 0_usize..6, 0_u16..3, 0_u64..8), 0..6)
        ) {
            let mut at = 0;
            let faults = drawn.into_iter().map(|(pause, action, server, hold)| {
                at += pause;
                let action: Action = Action::ALL[action];
                let server = match (server, action) {
                    (0, Action::Pause | Action::Promote) => ServerName::Replica(0),
                    (0, _) => ServerName::Primary,
                    (number, _) => ServerName::Replica(number - 1),
                };
                let hold = action.is_held().then_some(Duration::from_secs(hold));
                Fault { at: Duration::from_secs(at), action, server, hold }
            });
            let faults: Vec<_> = faults.collect();
            let checked = Script(faults.clone()).check(&settings(2), MINUTES);
            prop_assume!(checked.is_ok());

            let (mut carried_out, mut ends) = (Vec::new(), [Duration::ZERO; 3]);
            for step in checked.unwrap().steps {
                match step {
                    Step::Disturbance { fault, server } => {
                        prop_assert!(fault.at >= ends[server]);
                        ends[server] = fault.at + fault.hold.unwrap_or_default();
                        carried_out.push(fault);
                    }
                    Step::Promotion { fault, kill, .. } => {
                        prop_assert!(ends.iter().all(|end| fault.at >= *end));
                        carried_out.extend(kill.into_iter().chain([fault]));
                    }
                }
            }
            let sorted = |faults: &[Fault]| {
                let mut texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
                texts.sort();
                texts
            };
            prop_assert_eq!(sorted(&carried_out), sorted(&faults));
        }
    }
}

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::friendly::{Spacing, SpanParser, SpanPrinter};

use crate::servers::ServerName;

/// A fault of a server at a time of a load, such as `60s kill primary for 3s`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// When it begins, from the start of the load.
    pub at: Duration,
    /// What is done.
    pub action: Action,
    /// The server, by its name at that time.
    pub server: ServerName,
    /// How long it lasts. `None` if nothing has to be undone.
    pub hold: Option<Duration>,
}

/// What a fault does to a server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Stops all processes of the server with SIGSTOP.
    Freeze,
    /// Kills the server with SIGKILL.
    Kill,
    /// Pauses the replay of a replica.
    Pause,
    /// Makes a replica the primary. The former primary becomes a replica.
    Promote,
    /// Shuts the server down and starts it.
    Restart,
    /// Lets the server's answers arrive slowly.
    Slow,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 6] =
        [Self::Freeze, Self::Kill, Self::Pause, Self::Promote, Self::Restart, Self::Slow];

    fn word(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Promote => "promote",
            Self::Restart => "restart",
            Self::Slow => "slow",
        }
    }

    /// Returns whether the action lasts for a time and is then undone.
    pub fn is_held(self) -> bool {
        !matches!(self, Self::Promote | Self::Restart)
    }

    /// Returns whether the action concerns a replica only.
    fn needs_replica(self) -> bool {
        matches!(self, Self::Pause | Self::Promote)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Action {
    type Err = FaultError;

    fn from_str(word: &str) -> Result<Self, FaultError> {
        let known = Self::ALL.into_iter().find(|action| action.word() == word);
        known.ok_or_else(|| FaultError::Action(word.to_owned()))
    }
}

/// Parses the words of a fault: `TIME ACTION [SERVER] [for DURATION]`.
impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut words = text.split_whitespace().peekable();
        let at = parse_duration(words.next().ok_or(FaultError::Missing("the time"))?)?;
        let action: Action = words.next().ok_or(FaultError::Missing("the action"))?.parse()?;
        let server = match words.next_if(|word| *word != "for") {
            Some(word) => word.parse().map_err(|_| FaultError::Server(word.to_owned()))?,
            None => ServerName::Primary,
        };
        if action.needs_replica() && server == ServerName::Primary {
            return Err(FaultError::Primary(action));
        }
        let given = match words.next() {
            Some("for") => {
                let word = words.next().ok_or(FaultError::Missing("the duration after `for`"))?;
                Some(parse_duration(word)?)
            }
            Some(word) => return Err(FaultError::Surplus(word.to_owned())),
            None => None,
        };
        if let Some(word) = words.next() {
            return Err(FaultError::Surplus(word.to_owned()));
        }
        let hold = match (action.is_held(), given) {
            (false, Some(_)) => return Err(FaultError::NotHeld(action)),
            (false, None) => None,
            (true, given) => Some(given.unwrap_or(DEFAULT_HOLD)),
        };
        Ok(Self { at, action, server, hold })
    }
}

/// Displays a text that parses to the same fault.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, action, server, hold } = self;
        write!(f, "{} {action} {server}", duration_text(*at))?;
        match hold {
            Some(hold) => write!(f, " for {}", duration_text(*hold)),
            None => Ok(()),
        }
    }
}

/// The error of a text that is not a fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// The action is unknown.
    #[error("`{0}` is not an action: write freeze, kill, pause, promote, restart or slow")]
    Action(String),
    /// A time or a duration cannot be parsed.
    #[error("`{0}` is not a time: write it as 500ms, 30s, 2m, 1m30s or 1h")]
    Duration(String),
    /// A part is missing.
    #[error("{0} is missing: write `TIME ACTION [SERVER] [for DURATION]`")]
    Missing(&'static str),
    /// The action cannot be undone.
    #[error("`{0}` does not last for a time: leave out `for` and the duration")]
    NotHeld(Action),
    /// The action concerns a replica only.
    #[error("`{0}` needs a replica: write `{0} replica-0`")]
    Primary(Action),
    /// The name of the server is unknown.
    #[error("`{0}` is not a server: write primary, replica-0, replica-1, …")]
    Server(String),
    /// There is a word after the end.
    #[error("`{0}` is one word too many: write `TIME ACTION [SERVER] [for DURATION]`")]
    Surplus(String),
}

fn parse_duration(word: &str) -> Result<Duration, FaultError> {
    let parsed = SpanParser::new().parse_unsigned_duration(word);
    parsed.map_err(|_| FaultError::Duration(word.to_owned()))
}

/// Returns a text without blanks, such as `1m30s`.
pub(super) fn duration_text(duration: Duration) -> String {
    SpanPrinter::new().spacing(Spacing::None).unsigned_duration_to_string(&duration)
}

const DEFAULT_HOLD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Fault {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        text.parse::<Fault>().unwrap_err().to_string()
    }

    #[test]
    fn a_fault_lasts_five_seconds_unless_it_says_otherwise() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));

        assert_eq!(parsed("30s pause replica-1").hold, seconds(5));
        assert_eq!(parsed("60s kill primary for 3s").hold, seconds(3));
        assert_eq!(parsed("90s promote replica-0").hold, None);
        assert_eq!(parsed("40s restart replica-0").hold, None);
    }

    #[test]
    fn the_server_is_the_primary_unless_another_one_is_named() {
        let fault = parsed("1m30s freeze for 500ms");

        assert_eq!(fault.server, ServerName::Primary);
        assert_eq!(fault.at, Duration::from_secs(90));
        assert_eq!(fault.hold, Some(Duration::from_millis(500)));
    }

    #[test]
    fn an_error_names_the_word_and_what_is_allowed() {
        for (text, parts) in [
            ("", ["the time", "TIME ACTION"]),
            ("10s", ["the action", "TIME ACTION"]),
            ("soon kill primary", ["`soon`", "30s"]),
            ("-1s kill primary", ["`-1s`", "30s"]),
            ("10 kill primary", ["`10`", "30s"]),
            ("10s stop primary", ["`stop`", "freeze"]),
            ("10s kill replica", ["`replica`", "replica-0"]),
            ("10s pause", ["`pause`", "replica-0"]),
            ("10s promote primary", ["`promote`", "replica-0"]),
            ("10s promote replica-0 for 1s", ["`promote`", "leave out"]),
            ("10s kill primary for", ["duration", "TIME ACTION"]),
            ("10s kill primary during 3s", ["`during`", "TIME ACTION"]),
            ("10s kill primary for 3s more", ["`more`", "TIME ACTION"]),
        ] {
            let error = refused(text);

            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }

    fn faults() -> impl Strategy<Value = Fault> {
        let times = || (0_u64..100_000_000).prop_map(Duration::from_millis);
        let servers =
            prop_oneof![Just(ServerName::Primary), any::<u16>().prop_map(ServerName::Replica)];
        let actions = proptest::sample::select(&Action::ALL[..]);
        (times(), actions, servers, times()).prop_map(|(at, action, server, hold)| {
            let is_wrong = action.needs_replica() && server == ServerName::Primary;
            let server = if is_wrong { ServerName::Replica(0) } else { server };
            Fault { at, action, server, hold: action.is_held().then_some(hold) }
        })
    }

    proptest! {
        /// A displayed fault parses to the same fault.
        #[test]
        fn a_displayed_fault_parses_again(fault in faults()) {
            prop_assert_eq!(fault.to_string().parse::<Fault>(), Ok(fault));
        }

        /// No text makes the parser panic.
        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9a-z -]{0,40}") {
            let _ = text.parse::<Fault>();
        }
    }
}

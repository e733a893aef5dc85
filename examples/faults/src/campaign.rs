use std::fmt;

use clap::ValueEnum;

/// The kinds of campaigns.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub enum Campaign {
    /// The connection is cut after each byte of an append's exchange, in both directions, in each
    /// layout that it can have: alone or with others, judged by the store or by the server.
    Cut,
    /// The bytes after each byte of the exchange are held back; those for the server are delivered
    /// when the caller has been answered, or has given up.
    Stall,
    /// Half of what was said is delivered; after a pause the connection is cut, or goes on.
    Half,
    /// The bytes after each byte of a decision under the log's lock are lost, or held back for a while;
    /// those for the server may be delivered when the caller has been answered.
    Locked,
    /// Anything, anywhere on any connection, its set-up included, and callers that give up.
    Anywhere,
    /// A backend is killed by SIGKILL, whereupon the server recovers.
    Kill,
    /// A backend is ended by `pg_terminate_backend`.
    Terminate,
    /// The primary is stopped in immediate mode and started again.
    Restart,
    /// Other clients take the last connection slots.
    Slots,
    /// Somebody holds the log's lock for longer than the lock timeout and the statement timeout.
    Timeouts,
    /// The server and all of its sessions stop for a while, and then go on.
    Freeze,
    /// No byte passes on any connection for a while, in either direction, and none is closed.
    Silence,
    /// Bytes pass slowly, in either direction or both, at a pace that changes.
    Slow,
    /// A synchronous standby goes away while appends wait for it, and comes back; it goes away again, the
    /// primary is stopped for good, and the standby is promoted.
    Standby,
}

impl Campaign {
    /// Returns its share of the appends, to that of others. Of sixty thousand, those that go over the
    /// bytes of an exchange have enough to strike each.
    pub(crate) fn weight(self) -> u64 {
        match self {
            Self::Cut | Self::Half | Self::Stall => 5,
            Self::Locked => 4,
            Self::Anywhere => 3,
            _ => 1,
        }
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

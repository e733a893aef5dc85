use super::{Class, ConnectionFailure, Failure, Reason};
use crate::Role;

/// The purpose of a request that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// To store events.
    Append,
    /// To make a connection and to set it up.
    Connect,
    /// To read.
    Read,
}

/// The circumstances of a failure.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Circumstances {
    phase: Phase,
    role: Role,
    sent: bool,
    ended: bool,
    overdue: bool,
}

impl Circumstances {
    pub(crate) fn new(phase: Phase, role: Role) -> Self {
        Self { phase, role, sent: false, ended: false, overdue: false }
    }

    /// Sets whether the connection ended with the failure, as it does after an error of severity
    /// `FATAL` or `PANIC`.
    pub(crate) fn ended(self, ended: bool) -> Self {
        Self { ended, ..self }
    }

    /// Sets whether the statement had used up its timeout.
    pub(crate) fn overdue(self, overdue: bool) -> Self {
        Self { overdue, ..self }
    }

    /// Sets whether the request was sent, so that the server may have carried it out.
    pub(crate) fn sent(self, sent: bool) -> Self {
        Self { sent, ..self }
    }

    pub(crate) fn phase(self) -> Phase {
        self.phase
    }

    fn may_have_stored(self) -> bool {
        self.phase == Phase::Append && self.sent
    }
}

impl Class {
    /// Classifies any failure, as the tables in the documentation of [`Class`] say.
    pub(crate) fn of(failure: Failure<'_>, circumstances: Circumstances) -> Self {
        if circumstances.may_have_stored() && leaves_outcome_unknown(failure, circumstances) {
            return Self::OutcomeUnknown;
        }
        match failure {
            Failure::Connection(failure) => of_connection(failure, circumstances.phase),
            Failure::Sqlstate(code) => {
                of_code(code, circumstances).unwrap_or_else(|| of_code_class(code))
            }
        }
    }
}

fn leaves_outcome_unknown(failure: Failure<'_>, circumstances: Circumstances) -> bool {
    match failure {
        Failure::Connection(_) => true,
        Failure::Sqlstate(code) => {
            circumstances.ended
                || code.starts_with("08")
                || code.starts_with("57P")
                || ["25P03", "25P04", "40003"].contains(&code)
        }
    }
}

fn of_connection(failure: ConnectionFailure, phase: Phase) -> Class {
    match failure {
        ConnectionFailure::Denied if phase == Phase::Connect => {
            Class::Permanent(Reason::Authentication)
        }
        ConnectionFailure::Denied => Class::Permanent(Reason::Bug),
        ConnectionFailure::TimedOut if phase != Phase::Connect => Class::Timeout,
        ConnectionFailure::Broken
        | ConnectionFailure::Garbled
        | ConnectionFailure::ReadOnly
        | ConnectionFailure::TimedOut
        | ConnectionFailure::Unreachable => Class::Transient,
    }
}

/// Returns the class of a SQLSTATE that differs from the others of its class of codes.
fn of_code(code: &str, circumstances: Circumstances) -> Option<Class> {
    Some(match code {
        "25006" if circumstances.role == Role::Primary => Class::Transient,
        "25P03" | "25P04" => Class::Timeout,
        "55006" | "55P03" => Class::Transient,
        "57014" if circumstances.phase == Phase::Connect => Class::Transient,
        "57014" if circumstances.overdue => Class::Timeout,
        "57014" => Class::Canceled,
        "55P02" => Class::Permanent(Reason::Bug),
        "40002" | "P0001" => Class::Permanent(Reason::Invalid),
        "42501" => Class::Permanent(Reason::Permission),
        "2200H" | "53100" | "53400" => Class::Permanent(Reason::Resource),
        "42701" | "42703" | "42704" | "42710" | "42723" | "42804" | "42809" | "42846" | "42883"
        | "42P01" | "42P04" | "42P06" | "42P07" | "57P04" => Class::Permanent(Reason::Schema),
        _ => return None,
    })
}

/// Returns the class of a SQLSTATE by its first two characters.
fn of_code_class(code: &str) -> Class {
    match code.get(..2).unwrap_or_default() {
        "08" | "40" | "53" | "57" | "72" => Class::Transient,
        "28" => Class::Permanent(Reason::Authentication),
        "10" | "22" | "23" | "44" | "54" => Class::Permanent(Reason::Invalid),
        "0L" | "0P" => Class::Permanent(Reason::Permission),
        "0A" | "58" | "F0" => Class::Permanent(Reason::Resource),
        "2B" | "3D" | "3F" | "55" | "HV" => Class::Permanent(Reason::Schema),
        _ => Class::Permanent(Reason::Bug),
    }
}

/// The tables of the documentation, which the tests below `tests/it` read too.
#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;

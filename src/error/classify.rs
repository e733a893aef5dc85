use super::{Class, ConnectionFailure, Failure, Reason};
use crate::Role;

/// Says what was being done when a failure arose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// Events were to be stored.
    Append,
    /// A connection was being made and set up.
    Connect,
    /// Something was asked that changes nothing.
    Read,
}

/// Says under which circumstances a failure arose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Circumstances {
    place: Phase,
    role: Role,
    sent: bool,
    ended: bool,
    overdue: bool,
}

impl Circumstances {
    /// Names the place, and the part that the server plays.
    pub fn new(place: Phase, role: Role) -> Self {
        Self { place, role, sent: false, ended: false, overdue: false }
    }

    /// Sets whether the connection ended with the failure, as it does by the severities `FATAL` and
    /// `PANIC`. Defaults to no.
    pub fn ended(self, ended: bool) -> Self {
        Self { ended, ..self }
    }

    /// Sets whether the statement had had all the time that it was given. Defaults to no.
    pub fn overdue(self, overdue: bool) -> Self {
        Self { overdue, ..self }
    }

    /// Sets whether the request had been sent, so that it may have been carried out. Defaults to
    /// no.
    pub fn sent(self, sent: bool) -> Self {
        Self { sent, ..self }
    }

    pub(crate) fn place(self) -> Phase {
        self.place
    }

    fn may_have_been_stored(self) -> bool {
        self.place == Phase::Append && self.sent
    }
}

impl Class {
    /// Tells the class of any failure.
    ///
    /// # Append
    ///
    /// An append that had been sent has an unknown outcome whenever its connection ended: by
    /// itself, by the severity of the server's error, or by a code that ends connections (08, 57P,
    /// 25P03, 25P04) or that says as much (40003), whatever its severity. An error that leaves the
    /// connection alone is a refusal: the transaction is rolled back, nothing was stored. In all
    /// other cases the place makes no difference but where it is named below.
    ///
    /// # Connections
    ///
    /// | failure | class | because |
    /// | --- | --- | --- |
    /// | broken | transient | a server that restarts or fails over comes back |
    /// | denied | authentication | certificates and passwords do not mend by themselves |
    /// | denied, not while connecting | bug | this crate and the table differ on a type |
    /// | garbled | transient | the next connection begins in step again |
    /// | read-only | transient | while a primary is replaced, there is none |
    /// | timed out | timeout | what was asked for took its time, and would again |
    /// | timed out, while connecting | transient | as unreachable: whether somebody says no is no difference |
    /// | unreachable | transient | as broken; names and routes come back too |
    ///
    /// # Codes
    ///
    /// A code has the class that its own row gives it, or else the row of its first two characters:
    /// servers newer than this crate have codes that it has never heard of.
    ///
    /// | code | meaning | class | because |
    /// | --- | --- | --- | --- |
    /// | 00, 01, 02, 03 | success, warning, no data, incomplete | bug | these are no failures; something raised them as one |
    /// | 08 | connection | transient | poolers say so (08P01 too) of a server that they lost |
    /// | 09 | triggered action | bug | a trigger is at fault |
    /// | 0A | feature not supported | resource | the server lacks it |
    /// | 0B | transaction initiation | bug | this crate or a pooler mixed up transactions |
    /// | 0F | large object locator | bug | none is used |
    /// | 0L, 0P | grantor, role | permission | the roles are set up wrong |
    /// | 0Z | diagnostics | bug | a trigger is at fault |
    /// | 10 | XQuery | invalid | as 22 |
    /// | 20, 21 | case, cardinality | bug | a trigger or a view is at fault |
    /// | 22 | data | invalid | the value stays wrong |
    /// | 2200H | sequence at its end | resource | somebody has to widen it |
    /// | 23 | integrity constraint | invalid | the row stays wrong; the store reads 23505 itself |
    /// | 24 | cursor state | bug | none is used |
    /// | 25 | transaction state | bug | this crate or a pooler mixed up transactions |
    /// | 25006 | read-only | transient on a primary | it became a replica: another connection finds the new primary |
    /// | 25006 | read-only | bug on a replica | what writes there is not this crate's |
    /// | 25P02 | failed transaction | bug | whose failure was told to somebody else |
    /// | 25P03, 25P04 | idle in transaction, transaction timeout | timeout | a limit of time passed |
    /// | 26 | statement name | bug | a pooler hands out a server that has not prepared it |
    /// | 27 | triggered data change | bug | a trigger is at fault |
    /// | 28 | authorization | authentication | who asks stays who it is |
    /// | 2B | dependent objects | schema | what is to be dropped is used by something unknown |
    /// | 2D, 2F | transaction termination, routine | bug | a function is at fault |
    /// | 34 | cursor name | bug | none is used |
    /// | 38, 39, 3B | external routine, savepoint | bug | a function is at fault |
    /// | 3D, 3F | no such database, schema | schema | somebody has to make it |
    /// | 40 | rollback | transient | whoever was in the way (40001, 40P01) is gone, on a replica it was the replay |
    /// | 40002 | deferred constraint | invalid | as 23 |
    /// | 42 | syntax or access rule | bug | the statements are this crate's |
    /// | 42501 | privilege | permission | somebody has to grant it |
    /// | 42703, 42704, 42804, 42809, 42846, 42883, 42P01 | no such column, object, function, table, or of another type | schema | the statements are right for the schema that they are made for |
    /// | 42701, 42710, 42723, 42P04, 42P06, 42P07 | exists already | schema | something else has the name |
    /// | 44 | check option | invalid | as 23 |
    /// | 53 | resources | transient | connections (53300) and memory (53200) are given back by whoever has them now |
    /// | 53100, 53400 | disk full, configured limit | resource | somebody has to make room |
    /// | 54 | program limit | invalid | too long or too deep stays so |
    /// | 55 | prerequisite state | schema | the database or the log was set to refuse it |
    /// | 55006 | object in use | transient | until it is not |
    /// | 55P02 | fixed setting | bug | this crate sets none of those |
    /// | 55P03 | lock | transient | whoever holds it lets go of it |
    /// | 57 | operator | transient | shut down, crashed, starting (57P01 to 57P03), idle for too long (57P05): the next connection has a server |
    /// | 57014 | canceled | canceled | somebody asked for it |
    /// | 57014 | canceled when overdue | timeout | its time was up; nobody asked for it |
    /// | 57014 | canceled while connecting | transient | the server's own time for logins was up: it is busy |
    /// | 57P04 | database dropped | schema | somebody has to make it again |
    /// | 58 | system | resource | a disk or a file needs repair |
    /// | 72 | snapshot too old | transient | the next one is newer |
    /// | F0 | configuration file | resource | somebody has to repair it |
    /// | HV | foreign data | schema | the log is not this server's table |
    /// | P0 | PL/pgSQL | bug | a trigger is at fault |
    /// | P0001 | raised | invalid | a trigger of somebody's refuses it |
    /// | XX | internal | bug | of the server, or its files are corrupted |
    /// | any other | | bug | nobody knows whether it would do any good to try again |
    pub fn of(failure: Failure<'_>, circumstances: Circumstances) -> Self {
        if circumstances.may_have_been_stored() && leaves_in_doubt(failure, circumstances) {
            return Self::OutcomeUnknown;
        }
        match failure {
            Failure::Connection(failure) => of_connection(failure, circumstances.place),
            Failure::Sqlstate(code) => {
                of_code(code, circumstances).unwrap_or_else(|| of_class(code))
            }
        }
    }
}

fn leaves_in_doubt(failure: Failure<'_>, circumstances: Circumstances) -> bool {
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

fn of_connection(failure: ConnectionFailure, place: Phase) -> Class {
    match failure {
        ConnectionFailure::Denied if place == Phase::Connect => {
            Class::Permanent(Reason::Authentication)
        }
        ConnectionFailure::Denied => Class::Permanent(Reason::Bug),
        ConnectionFailure::TimedOut if place != Phase::Connect => Class::Timeout,
        ConnectionFailure::Broken
        | ConnectionFailure::Garbled
        | ConnectionFailure::ReadOnly
        | ConnectionFailure::TimedOut
        | ConnectionFailure::Unreachable => Class::Transient,
    }
}

/// Tells the class of a code that is unlike others of its kind.
fn of_code(code: &str, circumstances: Circumstances) -> Option<Class> {
    Some(match code {
        "25006" if circumstances.role == Role::Primary => Class::Transient,
        "25P03" | "25P04" => Class::Timeout,
        "55006" | "55P03" => Class::Transient,
        "57014" if circumstances.place == Phase::Connect => Class::Transient,
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

/// Tells the class of a code by its first two characters.
fn of_class(code: &str) -> Class {
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

/// The meaning of a failure for the caller.
///
/// [`Error::class`](crate::Error::class) returns it, metrics name it, and a
/// [`Retry`](crate::retry::Retry) decides by it.
///
/// ```
/// # use eddyline::{Class, Error};
/// fn status(error: &Error) -> u16 {
///     match error.class() {
///         Class::Conflict => 409,
///         Class::Timeout => 504,
///         Class::Transient | Class::OutcomeUnknown => 503,
///         _ => 500,
///     }
/// }
/// ```
///
/// # Appends
///
/// An append that was sent has an unknown outcome if its connection ended: by itself, by the
/// severity of the server's error (`FATAL`, `PANIC`), or by a code that ends connections (08, 57P,
/// 25P03, 25P04) or says that the outcome is unknown (40003), whatever its severity. After any
/// other error of the server the transaction is rolled back and nothing was stored. The tables
/// below name the phase of a request only if it makes a difference.
///
/// # Connections
///
/// | failure | class | because |
/// | --- | --- | --- |
/// | broken | transient | a server that restarts or fails over comes back |
/// | denied | authentication | certificates and passwords stay the same |
/// | denied, not while connecting | bug | this crate and the table disagree about a type |
/// | garbled | transient | a new connection starts from a clean state |
/// | read-only | transient | during a failover there is no primary |
/// | timed out | timeout | the same request takes the same time again |
/// | timed out, while connecting | transient | as unreachable |
/// | unreachable | transient | as broken; names and routes come back too |
///
/// # Codes
///
/// A SQLSTATE has the class of its own row, or else that of the row of its first two characters:
/// newer servers have codes that this crate does not know.
///
/// | code | meaning | class | because |
/// | --- | --- | --- | --- |
/// | 00, 01, 02, 03 | success, warning, no data, incomplete | bug | not failures; a program raised them as an error |
/// | 08 | connection | transient | a pooler lost its server; some report that as 08P01 |
/// | 09 | triggered action | bug | a trigger is wrong |
/// | 0A | feature not supported | resource | the server lacks it |
/// | 0B | transaction initiation | bug | this crate or a pooler confused transactions |
/// | 0F | large object locator | bug | none is used |
/// | 0L, 0P | grantor, role | permission | the roles are misconfigured |
/// | 0Z | diagnostics | bug | a trigger is wrong |
/// | 10 | XQuery | invalid | as 22 |
/// | 20, 21 | case, cardinality | bug | a trigger or a view is wrong |
/// | 22 | data | invalid | the value stays wrong |
/// | 2200H | sequence exhausted | resource | an administrator must raise its maximum |
/// | 23 | integrity constraint | invalid | the row stays invalid; the store handles 23505 itself |
/// | 24 | cursor state | bug | none is used |
/// | 25 | transaction state | bug | this crate or a pooler confused transactions |
/// | 25006 | read-only | transient on a primary | the server became a replica; a new connection finds the new primary |
/// | 25006 | read-only | bug on a replica | this crate does not write there |
/// | 25P02 | failed transaction | bug | an earlier statement of the transaction failed |
/// | 25P03, 25P04 | idle in transaction, transaction timeout | timeout | a time limit passed |
/// | 26 | statement name | bug | a pooler chose a server that has not prepared the statement |
/// | 27 | triggered data change | bug | a trigger is wrong |
/// | 28 | authorization | authentication | the credentials stay the same |
/// | 2B | dependent objects | schema | an unknown object depends on what is to be dropped |
/// | 2D, 2F | transaction termination, routine | bug | a function is wrong |
/// | 34 | cursor name | bug | none is used |
/// | 38, 39, 3B | external routine, savepoint | bug | a function is wrong |
/// | 3D, 3F | no such database, schema | schema | an administrator must create it |
/// | 40 | rollback | transient | the other transaction (40001, 40P01) is over; on a replica it was WAL replay |
/// | 40002 | deferred constraint | invalid | as 23 |
/// | 42 | syntax or access rule | bug | this crate wrote the statement |
/// | 42501 | privilege | permission | an administrator must grant it |
/// | 42703, 42704, 42804, 42809, 42846, 42883, 42P01 | no such column, object, function, table, or of another type | schema | the schema is not the one that the statement is for |
/// | 42701, 42710, 42723, 42P04, 42P06, 42P07 | exists already | schema | another object has the name |
/// | 44 | check option | invalid | as 23 |
/// | 53 | resources | transient | other sessions release connections (53300) and memory (53200) |
/// | 53100, 53400 | disk full, configured limit | resource | an administrator must free space or raise the limit |
/// | 54 | program limit | invalid | the statement stays too long or too deep |
/// | 55 | prerequisite state | schema | the database or the log is set to refuse it |
/// | 55006 | object in use | transient | other sessions release the object |
/// | 55P02 | fixed setting | bug | this crate sets none |
/// | 55P03 | lock | transient | the holder releases it |
/// | 57 | operator | transient | shutdown, crash, start-up (57P01 to 57P03), idle timeout (57P05): a new connection works |
/// | 57014 | canceled | canceled | an administrator or a program canceled it |
/// | 57014 | canceled after its timeout | timeout | its timeout expired |
/// | 57014 | canceled while connecting | transient | the server's authentication timeout expired: it is busy |
/// | 57P04 | database dropped | schema | an administrator must create it again |
/// | 58 | system | resource | a disk or a file needs repair |
/// | 72 | snapshot too old | transient | the next snapshot is newer |
/// | F0 | configuration file | resource | an administrator must repair it |
/// | HV | foreign data | schema | the log is a foreign table |
/// | P0 | PL/pgSQL | bug | a trigger is wrong |
/// | P0001 | raised | invalid | a trigger of the application refuses it |
/// | XX | internal | bug | a defect of the server, or corrupted files |
/// | any other | | bug | whether a retry could succeed is unknown |
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Class {
    /// The operation was canceled on purpose, as by `pg_cancel_backend`. Nothing was stored.
    Canceled,
    /// The append's condition does not hold: read again, decide again. Nothing was stored.
    Conflict,
    /// The connection ended before the append was answered. All of its events were stored, or none.
    OutcomeUnknown,
    /// The same request fails again. Nothing was stored.
    Permanent(Reason),
    /// A time limit expired, and would expire again: allow more time, or ask for less. Nothing was
    /// stored.
    Timeout,
    /// The cause passes by itself: try again. Nothing was stored.
    Transient,
}

/// The reason why the same request fails again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The server rejects the client's identity, or the client rejects the server's: wrong
    /// credentials or certificates, or missing encryption.
    Authentication,
    /// The server, this crate or a program between them is defective.
    Bug,
    /// The request is not valid.
    Invalid,
    /// The role lacks a right.
    Permission,
    /// The server lacks something that an administrator has to provide: disk, memory, a feature.
    Resource,
    /// The database or the log's tables are not as they have to be.
    Schema,
}

impl Class {
    /// Returns whether the same request may succeed if it is sent again unchanged: after a
    /// transient failure.
    ///
    /// After a conflict a new decision has to be made first. After a timeout the same limit would
    /// expire again.
    pub fn is_retryable(self) -> bool {
        self == Self::Transient
    }

    /// Returns the name of the class in metrics and traces. A permanent failure has the name of its
    /// reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::Conflict => "conflict",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Permanent(Reason::Authentication) => "authentication",
            Self::Permanent(Reason::Bug) => "bug",
            Self::Permanent(Reason::Invalid) => "invalid",
            Self::Permanent(Reason::Permission) => "permission",
            Self::Permanent(Reason::Resource) => "resource",
            Self::Permanent(Reason::Schema) => "schema",
            Self::Timeout => "timeout",
            Self::Transient => "transient",
        }
    }
}

/// An error that has a [`Class`].
///
/// Implement it for an error of your own that wraps an [`Error`](crate::Error), and a
/// [`Retry`](crate::retry::Retry) retries its transient failures.
///
/// ```
/// use eddyline::error::Reason;
/// use eddyline::{Class, Classify, Error};
///
/// enum LendError {
///     Store(Error),
///     TooManyBooks,
/// }
///
/// impl Classify for LendError {
///     fn class(&self) -> Class {
///         match self {
///             Self::Store(error) => error.class(),
///             Self::TooManyBooks => Class::Permanent(Reason::Invalid),
///         }
///     }
/// }
/// ```
pub trait Classify {
    /// Returns the class of the error.
    fn class(&self) -> Class;
}

impl<E: Classify + ?Sized> Classify for &E {
    fn class(&self) -> Class {
        (**self).class()
    }
}

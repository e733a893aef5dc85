/// The behavior of an append that finds the queue of waiting appends full.
///
/// ```
/// use eddyline::{Config, QueueFull};
///
/// let config = Config::new("postgres://primary/library")?
///     .append_queue(1_000)
///     .queue_full(QueueFull::Refuse);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum QueueFull {
    /// The append fails at once with [`Error::QueueFull`](crate::Error::QueueFull).
    Refuse,
    /// The append waits for a free slot, within the time limits of its attempt.
    Wait,
}

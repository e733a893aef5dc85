use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::hooks::{AsPlanned, ByClass, ByClassify, Hooks, RetryHooks, Silent};
use super::limit::Limit;
use super::state::{NextStep, RetryState};
use super::{Backoff, Retried, RetryPolicy, Retrying};
use crate::{Class, Classify, Telemetry};

/// Does something again until it succeeds, or until its policy says that this is enough.
///
/// The operation is any closure that returns a future of a [`Result`]; each attempt calls it anew.
/// By default a failure is followed by another attempt if its class
/// [is retryable](Class::is_retryable), which a conflict is not, and nor is an append whose outcome
/// is unknown: [`when`](Self::when) says otherwise.
///
/// ```
/// use eddyline::retry::{AttemptError, Retry};
/// use eddyline::{Error, Filter, History, ReadOnly, RetryPolicy, Store};
///
/// async fn read(
///     store: &Store<ReadOnly>,
///     filter: &Filter,
///     policy: &RetryPolicy,
/// ) -> Result<History<ReadOnly>, AttemptError<Error>> {
///     let retried = Retry::new(policy, || store.query(filter))
///         .notify(|retrying| println!("attempt {} follows", retrying.attempt()))
///         .await;
///     println!("{} after {} attempts", retried.outcome().as_str(), retried.attempts());
///     retried.into_result()
/// }
/// ```
///
/// An error has to tell its class, see [`Classify`]. This one does not:
///
/// ```compile_fail,E0277
/// use eddyline::retry::Retry;
/// use eddyline::RetryPolicy;
///
/// async fn lend() -> Result<(), std::io::Error> {
///     Ok(())
/// }
///
/// # async fn run() {
/// let _ = Retry::new(&RetryPolicy::default(), lend).await;
/// # }
/// ```
///
/// Then somebody else has to tell it:
///
/// ```
/// use eddyline::retry::Retry;
/// use eddyline::{Class, RetryPolicy};
///
/// async fn lend() -> Result<(), std::io::Error> {
///     Ok(())
/// }
///
/// # async fn run() {
/// let _ = Retry::classify_with(&RetryPolicy::default(), lend, |_| Class::Transient).await;
/// # }
/// ```
///
/// While its operation is ready at once it allocates nothing, sets no timer and reads no clock.
///
/// # Panics
///
/// Where a limit of time or a pause needs a timer and there is no tokio runtime that has one, and
/// when it is polled after it has completed. A panic of the operation or of a hook passes through.
///
/// # Cancel safety
///
/// Dropping it drops the attempt that is under way, and with it whatever that means to the
/// operation; nothing is tried again. A call that was never polled has not happened.
#[pin_project]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Retry<'a, O, F, E, H = Hooks> {
    operation: O,
    hooks: H,
    state: RetryState<'a, E>,
    #[pin]
    stage: Stage<F>,
}

#[pin_project(project = StateProjection)]
enum Stage<F> {
    Ready,
    Running {
        #[pin]
        attempt: F,
        #[pin]
        limit: Limit,
    },
    Waiting {
        #[pin]
        timer: Option<Sleep>,
        pause: Duration,
    },
    Done,
}

impl<'a, O, F, T, E> Retry<'a, O, F, E>
where
    O: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
{
    /// Tries an operation under a policy.
    pub fn new(policy: &'a RetryPolicy, operation: O) -> Self
    where
        E: Classify,
    {
        Self::with_hooks(policy, operation, ByClassify)
    }
}

impl<'a, O, F, T, E, C> Retry<'a, O, F, E, Hooks<Backoff, C>>
where
    O: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
{
    /// Tries an operation whose errors do not tell their class themselves.
    pub fn classify_with(policy: &'a RetryPolicy, operation: O, classes: C) -> Self
    where
        C: FnMut(&E) -> Class,
    {
        Self::with_hooks(policy, operation, classes)
    }

    fn with_hooks(policy: &'a RetryPolicy, operation: O, classes: C) -> Self {
        let backoff = policy.backoff();
        let hooks = Hooks { backoff, classes, when: ByClass, notify: Silent, adjust: AsPlanned };
        Self { operation, hooks, state: RetryState::new(policy), stage: Stage::Ready }
    }
}

impl<'a, O, F, E, H> Retry<'a, O, F, E, H> {
    /// Lets every attempt run to its end: neither the attempt timeout nor the deadline cuts it off,
    /// and the deadline only keeps new ones from beginning.
    ///
    /// For operations that must not be dropped half-way, nor be repeated when they were: those that
    /// append. What was cut off may have been stored, and an event that is made anew has a new id.
    pub fn without_timeouts(mut self) -> Self {
        self.state.without_timeouts = true;
        self
    }

    /// Counts the deadline from an earlier moment than the first poll: that of the call which this
    /// is part of.
    pub fn started_at(mut self, started: Instant) -> Self {
        self.state.started = Some(started);
        self
    }

    /// Counts attempts, pauses and the outcome under a scope, which is one of few: it becomes an
    /// attribute. Defaults to counting nothing.
    pub fn telemetry(mut self, telemetry: &'a Telemetry, scope: &'static str) -> Self {
        self.state.call = Some(telemetry.retry(scope));
        self
    }

    fn map_hooks<X>(self, map: impl FnOnce(H) -> X) -> Retry<'a, O, F, E, X> {
        let Self { operation, hooks, state, stage } = self;
        Retry { operation, hooks: map(hooks), state, stage }
    }
}

impl<'a, O, F, T, E, B, C, W, N, A> Retry<'a, O, F, E, Hooks<B, C, W, N, A>>
where
    F: Future<Output = Result<T, E>>,
{
    /// Takes the pauses from an iterator. The call ends with it, and after the policy's attempts.
    /// Defaults to the policy's [`Backoff`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use eddyline::retry::Retry;
    /// use eddyline::{Error, RetryPolicy};
    ///
    /// # async fn run() {
    /// let policy = RetryPolicy::default();
    /// let pauses = [10, 50].map(Duration::from_millis);
    /// let retried = Retry::new(&policy, async || Ok::<_, Error>(7)).backoff(pauses).await;
    /// assert_eq!(retried.into_result().unwrap(), 7);
    /// # }
    /// ```
    pub fn backoff<P, I>(self, pauses: P) -> Retry<'a, O, F, E, Hooks<I, C, W, N, A>>
    where
        P: IntoIterator<Item = Duration, IntoIter = I>,
    {
        self.map_hooks(|Hooks { backoff: _, classes, when, notify, adjust }| Hooks {
            backoff: pauses.into_iter(),
            classes,
            when,
            notify,
            adjust,
        })
    }

    /// Says which errors to try again after. Defaults to those whose class
    /// [is retryable](Class::is_retryable).
    ///
    /// It is not asked about attempts that were cut off, which are tried again: a limit of one
    /// attempt is there so that another can be made. Nothing cuts off an operation that is
    /// [`without_timeouts`](Self::without_timeouts).
    pub fn when<X>(self, when: X) -> Retry<'a, O, F, E, Hooks<B, C, X, N, A>>
    where
        X: FnMut(&E) -> bool,
    {
        self.map_hooks(|Hooks { backoff, classes, when: _, notify, adjust }| Hooks {
            backoff,
            classes,
            when,
            notify,
            adjust,
        })
    }

    /// Tells somebody before each pause. Defaults to nobody.
    pub fn notify<X>(self, notify: X) -> Retry<'a, O, F, E, Hooks<B, C, W, X, A>>
    where
        X: FnMut(&Retrying<'_, E>),
    {
        self.map_hooks(|Hooks { backoff, classes, when, notify: _, adjust }| Hooks {
            backoff,
            classes,
            when,
            notify,
            adjust,
        })
    }

    /// Changes pauses by the error before them, as where a server says when to come back.
    ///
    /// It is given the pause that comes, or nothing where there are no more, and returns what is
    /// to be: a pause, even beyond the last attempt of the policy, or nothing, which ends the call.
    /// The deadline and the budget hold all the same. It is not asked about attempts that were cut
    /// off. Defaults to what the back-off has.
    pub fn adjust<X>(self, adjust: X) -> Retry<'a, O, F, E, Hooks<B, C, W, N, X>>
    where
        X: FnMut(&E, Option<Duration>) -> Option<Duration>,
    {
        self.map_hooks(|Hooks { backoff, classes, when, notify, adjust: _ }| Hooks {
            backoff,
            classes,
            when,
            notify,
            adjust,
        })
    }
}

impl<O, F, T, E, H> Future for Retry<'_, O, F, E, H>
where
    O: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
    H: RetryHooks<E>,
{
    type Output = Retried<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let verdict = match this.stage.as_mut().project() {
                StateProjection::Ready => {
                    this.state.attempt();
                    let attempt = (this.operation)();
                    this.stage.set(Stage::Running { attempt, limit: Limit::Unasked });
                    continue;
                }
                StateProjection::Running { attempt, limit } => match attempt.poll(cx) {
                    Poll::Ready(Ok(value)) => NextStep::Over(this.state.succeed(value)),
                    Poll::Ready(Err(error)) => this.state.fail(error, this.hooks),
                    Poll::Pending => {
                        let cut = ready!(limit.poll(this.state, cx));
                        this.state.cut_off(cut, this.hooks)
                    }
                },
                StateProjection::Waiting { timer, pause } => {
                    if let Some(timer) = timer.as_pin_mut() {
                        ready!(timer.poll(cx));
                    }
                    match this.state.resume(*pause) {
                        Some(retried) => NextStep::Over(retried),
                        None => {
                            this.stage.set(Stage::Ready);
                            continue;
                        }
                    }
                }
                StateProjection::Done => panic!("`Retry` polled after completion"),
            };
            match verdict {
                NextStep::Again { pause } if pause.is_zero() => {
                    // A timer would wait for its next tick. Other tasks have their turn all the
                    // same, and whoever wants to cancel the call.
                    this.stage.set(Stage::Waiting { timer: None, pause });
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                NextStep::Again { pause } => {
                    this.stage.set(Stage::Waiting { timer: Some(sleep(pause)), pause });
                }
                NextStep::Over(retried) => {
                    this.stage.set(Stage::Done);
                    return Poll::Ready(retried);
                }
            }
        }
    }
}

impl<O, F, E, H> fmt::Debug for Retry<'_, O, F, E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Ready => "ready",
            Stage::Running { .. } => "running",
            Stage::Waiting { .. } => "waiting",
            Stage::Done => "done",
        };
        f.debug_struct("Retry").field("stage", &stage).finish_non_exhaustive()
    }
}

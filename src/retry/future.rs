use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::hooks::{AsPlanned, ByClass, ByClassify, Hooks, RetryHooks, Silent};
use super::state::{NextStep, RetryState};
use super::timeout::Timeout;
use super::{Backoff, Retried, RetryPolicy, Retrying};
use crate::telemetry::{RetryCall, Telemetry};
use crate::{Class, Classify};

/// A future that calls an operation until it succeeds or its policy allows no more attempts.
///
/// The operation is a closure that returns a future of a [`Result`]. Each attempt calls it once. By
/// default an error is retried if its class [is retryable](Class::is_retryable): a conflict is not,
/// and an append with an unknown outcome is not. [`when`](Self::when) changes that.
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
/// The error must have a class, see [`Classify`]. This one has none and does not compile:
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
/// A closure can classify it instead:
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
/// As long as the operation is ready at its first poll, a retry allocates nothing, sets no timer
/// and reads no clock.
///
/// # Panics
///
/// If a timeout or a pause needs a timer and there is no tokio runtime with timers, and if it is
/// polled after it has completed. A panic of the operation or of a hook is passed on.
///
/// # Cancel safety
///
/// Dropping it drops the current attempt, with the effects that this has on the operation. There
/// are no further attempts. If it was never polled, the operation was not called.
#[pin_project]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Retry<'a, O, F, E, H = Hooks> {
    operation: O,
    hooks: H,
    state: RetryState<'a, E>,
    #[pin]
    stage: Stage<F>,
}

#[pin_project(project = StageProjection)]
enum Stage<F> {
    Ready,
    Running {
        #[pin]
        attempt: F,
        #[pin]
        timeout: Timeout,
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
    /// Retries an operation under a policy.
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
    /// Retries an operation whose errors do not implement [`Classify`].
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
    /// Lets every attempt run to its end. Neither the attempt timeout nor the deadline cancels it;
    /// the deadline only prevents new attempts.
    ///
    /// Use it for operations that must not be dropped half-way, such as those that append: the
    /// append may have been stored, and an attempt that makes a new event gives it a new id, so
    /// that both are stored.
    ///
    /// ```
    /// # use eddyline::retry::Retry;
    /// # use eddyline::{AppendCondition, Error, Event, ReadWrite, RetryPolicy, Store};
    /// # async fn run(
    /// #     writer: &Store<ReadWrite>,
    /// #     policy: &RetryPolicy,
    /// #     event: &Event,
    /// # ) -> Result<(), Error> {
    /// let append = || writer.append([event.clone()], AppendCondition::none());
    /// Retry::new(policy, append).without_timeouts().await.into_result()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_timeouts(mut self) -> Self {
        self.state.without_timeouts = true;
        self
    }

    /// Counts the deadline from an earlier moment than the first poll, for instance from the start
    /// of the call that the operation is part of.
    pub fn started_at(mut self, started: Instant) -> Self {
        self.state.started = Some(started);
        self
    }

    /// Counts attempts, pauses and the outcome under a scope. Defaults to counting nothing.
    ///
    /// The scope is an attribute of metrics, so a program should use few of them.
    pub fn telemetry(self, telemetry: &Telemetry, scope: &'static str) -> Self {
        self.counted_by(telemetry.retry(scope))
    }

    /// Counts attempts, pauses and the outcome by this guard.
    pub(crate) fn counted_by(mut self, call: RetryCall) -> Self {
        self.state.call = Some(call);
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
    /// Takes the pauses from an iterator. The call ends when the iterator ends or the policy allows
    /// no more attempts. Defaults to the policy's [`Backoff`].
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

    /// Sets which errors are retried. Defaults to those whose class [is
    /// retryable](Class::is_retryable).
    ///
    /// Attempts that timed out are retried without calling the closure, since an attempt has a
    /// timeout so that another one can be made. An operation
    /// [`without_timeouts`](Self::without_timeouts) never times out.
    ///
    /// ```
    /// # use eddyline::retry::Retry;
    /// # use eddyline::{Error, RetryPolicy};
    /// # async fn run(policy: &RetryPolicy) {
    /// let retried = Retry::new(policy, async || Ok::<_, Error>(7)).when(Error::is_conflict).await;
    /// # }
    /// ```
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

    /// Sets a closure that is called before each pause. Defaults to none.
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

    /// Sets a closure that changes a pause by the error before it, for instance if a server says
    /// when to try again. Defaults to the pauses of the back-off.
    ///
    /// It gets the next pause, or `None` if no attempt is left, and returns the pause to make, even
    /// beyond the last attempt of the policy, or `None` to end the call. The deadline and the
    /// budget still apply. It is not called after an attempt that timed out.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use eddyline::retry::Retry;
    /// # use eddyline::{Error, RetryPolicy};
    /// # async fn run(policy: &RetryPolicy) {
    /// let retried = Retry::new(policy, async || Ok::<_, Error>(7))
    ///     .adjust(|error, pause| match error.is_conflict() {
    ///         true => pause.map(|_| Duration::ZERO),
    ///         false => pause,
    ///     })
    ///     .await;
    /// # }
    /// ```
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

    // By default the compiler does not inline it, and a ready operation takes twice as long.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProjection::Ready => {
                    this.state.attempt();
                    let attempt = (this.operation)();
                    this.stage.set(Stage::Running { attempt, timeout: Timeout::NotStarted });
                    continue;
                }
                StageProjection::Running { attempt, timeout } => match attempt.poll(cx) {
                    Poll::Ready(Ok(value)) => NextStep::End(this.state.succeed(value)),
                    Poll::Ready(Err(error)) => this.state.fail(error, this.hooks),
                    Poll::Pending => {
                        let cutoff = ready!(timeout.poll(this.state, cx));
                        this.state.time_out(cutoff, this.hooks)
                    }
                },
                StageProjection::Waiting { timer, pause } => {
                    if let Some(timer) = timer.as_pin_mut() {
                        ready!(timer.poll(cx));
                    }
                    match this.state.resume(*pause) {
                        Some(retried) => NextStep::End(retried),
                        None => {
                            this.stage.set(Stage::Ready);
                            continue;
                        }
                    }
                }
                StageProjection::Done => panic!("`Retry` polled after completion"),
            };
            match next {
                NextStep::Again { pause } if pause.is_zero() => {
                    // A timer would wait for its next tick. Yield, so that other tasks can run and
                    // the call can be canceled.
                    this.stage.set(Stage::Waiting { timer: None, pause });
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                NextStep::Again { pause } => {
                    this.stage.set(Stage::Waiting { timer: Some(sleep(pause)), pause });
                }
                NextStep::End(retried) => {
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
        f.debug_struct("Retry").field("state", &stage).finish_non_exhaustive()
    }
}

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::state::{Cutoff, RetryState};

/// The timeout of an attempt. It starts when the attempt is first pending.
#[pin_project(project = TimeoutProjection)]
pub enum Timeout {
    NotStarted,
    Unlimited,
    Until {
        #[pin]
        timer: Sleep,
        cutoff: Cutoff,
    },
}

impl Timeout {
    /// Waits until the attempt has to be canceled.
    pub fn poll<E>(
        mut self: Pin<&mut Self>,
        state: &mut RetryState<'_, E>,
        cx: &mut Context<'_>,
    ) -> Poll<Cutoff> {
        loop {
            let limit = match self.as_mut().project() {
                TimeoutProjection::NotStarted => match state.cutoff() {
                    Some(cutoff) => Self::Until { timer: sleep_until(cutoff.at), cutoff },
                    None => Self::Unlimited,
                },
                TimeoutProjection::Unlimited => return Poll::Pending,
                TimeoutProjection::Until { timer, cutoff } => {
                    return timer.poll(cx).map(|()| *cutoff);
                }
            };
            self.set(limit);
        }
    }
}

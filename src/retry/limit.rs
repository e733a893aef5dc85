use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::state::{Cutoff, RetryState};

/// What may cut an attempt off. It is asked for when the attempt first waits.
#[pin_project(project = LimitProjection)]
pub enum Limit {
    Unasked,
    Unlimited,
    Until {
        #[pin]
        timer: Sleep,
        cut: Cutoff,
    },
}

impl Limit {
    /// Waits for the limit, if there is one.
    pub fn poll<E>(
        mut self: Pin<&mut Self>,
        state: &mut RetryState<'_, E>,
        cx: &mut Context<'_>,
    ) -> Poll<Cutoff> {
        loop {
            let limit = match self.as_mut().project() {
                LimitProjection::Unasked => match state.cut() {
                    Some(cut) => Self::Until { timer: sleep_until(cut.at), cut },
                    None => Self::Unlimited,
                },
                LimitProjection::Unlimited => return Poll::Pending,
                LimitProjection::Until { timer, cut } => return timer.poll(cx).map(|()| *cut),
            };
            self.set(limit);
        }
    }
}

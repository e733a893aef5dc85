use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::Appender;
use super::queue::Member;
use super::seat::Seat;
use crate::Error;

/// Takes what waits and carries it out, until nothing waits any more.
pub(super) struct Runner {
    appender: Arc<Appender>,
    /// What was taken and is yet to be carried out, the last of them first.
    groups: Vec<Vec<Member>>,
    /// Whether the queue counts on this one.
    is_current: bool,
}

impl Runner {
    /// Begins to take what waits, as the one that the queue counts on.
    pub(super) fn start(appender: Arc<Appender>) {
        tokio::spawn(Self { appender, groups: Vec::new(), is_current: true }.run());
    }

    async fn run(mut self) {
        if !self.appender.linger.is_zero() {
            sleep(self.appender.linger).await;
        }
        let mut seat = None;
        let mut carried = 0;
        loop {
            if seat.as_ref().is_some_and(Seat::is_spent) {
                // What one connection saw may not be what another one leads to.
                seat = None;
            }
            if seat.is_none() && self.has_work() {
                seat = match self.sit_down().await {
                    Ok(seat) => Some(seat),
                    Err(error) => {
                        self.refuse(&error);
                        None
                    }
                };
            }
            self.gather(carried).await;
            let Some(members) = self.next(&mut seat) else { return };
            carried = members.len();
            match &mut seat {
                Some(seat) => self.carry_out(members, seat).await,
                None => self.groups.push(members),
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.groups.is_empty() || self.is_current && self.appender.queue().len() > 0
    }

    async fn sit_down(&self) -> Result<Seat, Error> {
        let lease = self.appender.pool.acquire().await?;
        let seen = if self.is_current { self.appender.seen().take() } else { None };
        Ok(Seat::new(lease, seen))
    }

    /// Tells those whose turn it is that there is no connection.
    fn refuse(&mut self, error: &Error) {
        let members = match self.groups.pop() {
            None if self.is_current => self.appender.queue().take(self.appender.max_batch),
            group => group.unwrap_or_default(),
        };
        for member in members {
            member.answer(Err(error.clone()));
        }
    }

    /// Lets those whose appends were answered a moment ago come again: they will go together, where
    /// otherwise the first of them would go alone and all others wait for it.
    async fn gather(&self, carried: usize) {
        if carried < 2 || !self.groups.is_empty() {
            return;
        }
        let enough = if carried < MANY { carried } else { carried / 2 };
        for _ in 0..YIELDS {
            if self.appender.queue().len() >= enough {
                break;
            }
            yield_now().await;
        }
    }

    /// Returns what is to be carried out next. Where there is nothing, what was seen is left to
    /// whoever comes next, before anybody can.
    fn next(&mut self, seat: &mut Option<Seat>) -> Option<Vec<Member>> {
        if let Some(group) = self.groups.pop() {
            return Some(group);
        }
        if !self.is_current {
            return None;
        }
        let mut queue = self.appender.queue();
        let members = queue.take(self.appender.max_batch);
        if !members.is_empty() {
            return Some(members);
        }
        if let Some(seat) = seat.take() {
            *self.appender.seen() = Some(seat.leave());
        }
        self.is_current = false;
        queue.is_served = false;
        None
    }

    async fn carry_out(&mut self, members: Vec<Member>, seat: &mut Seat) {
        let Self { appender, groups, is_current } = self;
        let mut work = pin!(seat.carry_out(appender, members, groups));
        if timeout(PATIENCE, &mut work).await.is_err() {
            // Whatever holds this one up, its connection perhaps, need not hold up the others: those
            // that wait now, and those that come later.
            if std::mem::take(is_current) {
                let mut queue = appender.queue();
                queue.is_served = queue.len() > 0;
                if queue.is_served {
                    Self::start(appender.clone());
                }
            }
            work.await;
        }
    }
}

impl Drop for Runner {
    /// Where it does not come to its end, as when its runtime is shut down, the next append makes
    /// another one. Those that wait may be of another runtime, and are told to come again.
    fn drop(&mut self) {
        if !self.is_current {
            return;
        }
        let mut queue = self.appender.queue();
        queue.is_served = false;
        let waiting = queue.take_all();
        drop(queue);
        for member in waiting {
            let server = self.appender.pool.server();
            member.answer(Err(server.lost("who would have sent the append is gone")));
        }
    }
}

/// How long the appends that wait go on waiting for a batch that is under way.
const PATIENCE: Duration = Duration::from_secs(1);
/// From how many appends on it is better to take half of those that come again, and have the server
/// at work while the other half comes.
const MANY: usize = 16;
/// How often to let others run before a batch is taken.
const YIELDS: usize = 8;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Appender;
use super::driver::{Call, Driver};
use super::flight::Flight;
use super::queue::Member;
use super::seat::Seat;
use crate::Error;

/// Takes what waits and carries it out, until nothing has come for a while.
pub(super) struct Runner {
    appender: Arc<Appender>,
    /// What it is run by.
    driver: Weak<Driver>,
    /// What was taken and is yet to be carried out, the last of them first.
    groups: Vec<Vec<Member>>,
    /// Whether the queue counts on this one.
    is_current: bool,
}

impl Runner {
    /// Begins to take what waits, as the one that the queue counts on.
    pub(super) fn start(appender: Arc<Appender>) {
        Driver::start(|driver| {
            Self { appender, driver, groups: Vec::new(), is_current: true }.run()
        });
    }

    async fn run(mut self) {
        let mut seat = None;
        let mut carried = 0;
        // One timer for many a rest: to set one is not for nothing.
        let mut rest = pin!(sleep(REST));
        let mut has_rested = true;
        self.linger().await;
        loop {
            if !self.has_work() {
                if !self.is_current {
                    return;
                }
                tokio::select! {
                    biased;
                    () = self.first() => self.linger().await,
                    () = &mut rest => {
                        if !std::mem::replace(&mut has_rested, true) {
                            rest.as_mut().reset(Instant::now() + REST);
                            continue;
                        }
                    }
                }
                if self.end(&mut seat) {
                    return;
                }
            }
            has_rested = false;
            if seat.as_ref().is_some_and(Seat::is_spent) {
                // What one connection saw may not be what another one leads to.
                seat = None;
            }
            if seat.is_none() {
                seat = match self.sit_down().await {
                    Ok(seat) => Some(seat),
                    Err(error) => {
                        self.refuse(&error);
                        continue;
                    }
                };
            }
            self.gather(carried).await;
            if let (Some(seat), Some(members)) = (&mut seat, self.next()) {
                carried = self.carry_out(members, seat).await;
            }
        }
    }

    /// Lets others come with the first one, as long as the store is set to.
    async fn linger(&self) {
        if !self.appender.linger.is_zero() {
            sleep(self.appender.linger).await;
        }
    }

    /// Waits for the first that comes. Others that are about to are let come with it.
    async fn first(&self) {
        poll_fn(|cx| self.appender.queue().poll_many(1, || Call::to_wake(cx))).await;
    }

    /// Waits until so many wait; the last of them lets this go on at once.
    async fn many(&self, many: usize) {
        let call = |cx: &Context<'_>| Call::to_run(&self.driver, cx);
        poll_fn(|cx| self.appender.queue().poll_many(many, || call(cx))).await;
    }

    /// Ends, unless something waits. What was seen is left to whoever comes next, before
    /// anybody can.
    fn end(&mut self, seat: &mut Option<Seat>) -> bool {
        let mut queue = self.appender.queue();
        if queue.len() > 0 {
            return false;
        }
        if let Some(seat) = seat.take() {
            *self.appender.seen() = Some(seat.leave());
        }
        self.is_current = false;
        queue.is_served = false;
        true
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

    /// Returns what is to be carried out next.
    fn next(&mut self) -> Option<Vec<Member>> {
        if let Some(group) = self.groups.pop() {
            return Some(group);
        }
        let members = match self.is_current {
            true => self.appender.queue().take(self.appender.max_batch),
            false => Vec::new(),
        };
        Some(members).filter(|members| !members.is_empty())
    }

    /// Carries out what goes together; returns how many went together last.
    async fn carry_out(&mut self, members: Vec<Member>, seat: &mut Seat) -> usize {
        let carried = members.len();
        let began = Instant::now();
        let Self { appender, groups, is_current, .. } = self;
        let work = seat.carry_out(appender, members, groups);
        match patiently(appender, is_current, began, work).await {
            Some(flight) => self.fly(flight, began, seat).await,
            None => carried,
        }
    }

    /// Waits for what was sent, and meanwhile sends what comes.
    async fn fly(&mut self, mut front: Flight, mut began: Instant, seat: &mut Seat) -> usize {
        let mut next = None;
        // Where some have to wait for what is in front of them, they are the first to go on then.
        let mut is_clear = true;
        loop {
            let mut patience = pin!(sleep_until(began + PATIENCE));
            loop {
                let is_free = next.is_none() && is_clear && self.groups.is_empty();
                let goes_ahead = is_free && self.is_current && seat.may_go_ahead();
                let many = MANY.max(front.len());
                tokio::select! {
                    biased;
                    () = front.answered() => break,
                    () = self.many(many), if goes_ahead => {
                        let members = self.take_half(front.len());
                        let taken = members.len();
                        let began = Instant::now();
                        let groups = &mut self.groups;
                        let ahead = seat.go_ahead(&self.appender, members, groups, &mut front);
                        next = ahead.await.map(|flight| (flight, began));
                        is_clear = next.as_ref().is_some_and(|(flight, _)| flight.len() == taken);
                    }
                    () = &mut patience, if self.is_current => {
                        hand_over(&self.appender, &mut self.is_current);
                    }
                }
            }
            let carried = front.len();
            let Self { appender, groups, is_current, .. } = self;
            let landing = seat.land(appender, front, groups, next.is_none());
            patiently(appender, is_current, began, landing).await;
            match next.take() {
                Some(next) => (front, began) = next,
                None => return carried,
            }
        }
    }

    /// Takes half of those that wait or are under way: the other half comes while they are.
    fn take_half(&self, under_way: usize) -> Vec<Member> {
        let mut queue = self.appender.queue();
        let half = (queue.len() + under_way).div_ceil(2);
        queue.take(half.min(self.appender.max_batch))
    }
}

/// Waits for a piece of work, but lets nobody else wait for it for long.
async fn patiently<T>(
    appender: &Arc<Appender>,
    is_current: &mut bool,
    began: Instant,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    if *is_current {
        if let Ok(done) = timeout_at(began + PATIENCE, &mut work).await {
            return done;
        }
        hand_over(appender, is_current);
    }
    work.await
}

/// Has another one take what waits now, and what comes later. Whatever holds this one up, its
/// connection perhaps, need not hold up the others.
fn hand_over(appender: &Arc<Appender>, is_current: &mut bool) {
    *is_current = false;
    let mut queue = appender.queue();
    queue.is_served = queue.len() > 0;
    if queue.is_served {
        Runner::start(appender.clone());
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

/// How long a connection is kept at least for those that may come.
const REST: Duration = Duration::from_secs(60);
/// How long the appends that wait go on waiting for a batch that is under way.
const PATIENCE: Duration = Duration::from_secs(1);
/// From how many appends on it is better to send half of them, and have the server at work while the
/// other half comes.
const MANY: usize = 16;
/// How often to let others run before a batch is taken.
const YIELDS: usize = 8;

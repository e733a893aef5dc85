use std::time::Duration;

use super::counts::count;
use super::times::Times;
use super::{Ended, Window};
use crate::plan::Group;

/// The windows of a load. Only the last one is open: it keeps all latencies. The closed ones keep
/// a few figures each.
pub struct Windows {
    length: Duration,
    /// The latest time that was seen, since the start of the load.
    clock: Duration,
    closed: Vec<Counted>,
    open: Counted,
    latency: Times,
    service: Times,
    query_latency: Times,
}

#[derive(Clone, Default)]
struct Counted {
    window: Window,
    impossible: u64,
}

impl Windows {
    /// Creates windows of this length.
    pub fn new(length: Duration) -> Self {
        Self {
            length: length.max(SHORTEST),
            clock: Duration::ZERO,
            closed: Vec::new(),
            open: Counted::default(),
            latency: Times::default(),
            service: Times::default(),
            query_latency: Times::default(),
        }
    }

    /// Closes the windows that ended before or at a time.
    pub fn advance(&mut self, time: Duration) {
        self.clock = self.clock.max(time);
        while self.clock >= self.start_of(self.closed.len() + 1) {
            let (window, impossible) = (self.open_until(self.length), self.open.impossible);
            self.closed.push(Counted { window, impossible });
            let start = self.start_of(self.closed.len()).as_secs_f64();
            self.open = Counted { window: Window { start, ..Window::default() }, impossible: 0 };
            self.latency.clear();
            self.service.clear();
            self.query_latency.clear();
        }
    }

    /// Counts operations whose intended time is in a window, which may be closed.
    pub fn due(&mut self, intended: Duration, operations: u64) {
        self.advance(intended);
        let index = (intended.as_nanos() / self.length.as_nanos()) as usize;
        let counted = self.closed.get_mut(index).unwrap_or(&mut self.open);
        counted.window.due += operations;
    }

    /// Counts an operation that began too late.
    pub fn late(&mut self) {
        self.open.window.late += 1;
    }

    /// Counts an operation that could not be carried out.
    pub fn impossible(&mut self) {
        self.open.impossible += 1;
    }

    /// Counts an operation that has ended, in the open window.
    pub fn ended(&mut self, ended: &Ended) {
        let latency = ended.ended.saturating_duration_since(ended.intended);
        if ended.group == Group::Queries {
            self.query_latency.add(latency);
        } else {
            self.latency.add(latency);
            self.service.add(ended.ended.saturating_duration_since(ended.began));
            self.open.window.command_outcomes.add(ended.status);
        }
        let window = &mut self.open.window;
        window.ended += 1;
        window.outcomes.add(ended.status);
        window.events_read += ended.events_read;
        window.lost_rounds += u64::from(ended.lost_rounds);
        window.retries += u64::from(ended.retries);
        if let Some(server) = &ended.served_by {
            count(&mut window.reads_by_server, server);
        }
    }

    /// Returns the time since the start of the load.
    pub fn clock(&self) -> Duration {
        self.clock
    }

    /// Returns all windows. The last one ends now.
    pub fn all(&self) -> Vec<Window> {
        let seconds = self.clock - self.start_of(self.closed.len());
        let open = Counted { window: self.open_until(seconds), impossible: self.open.impossible };
        let mut pending = 0_u64;
        let with_pending = self.closed.iter().cloned().chain([open]).map(|counted| {
            let Counted { mut window, impossible } = counted;
            pending = (pending + window.due).saturating_sub(window.ended + impossible);
            window.pending = pending;
            window
        });
        with_pending
            .filter(|window| window.seconds > 0.0 || window.due + window.ended > 0)
            .collect()
    }

    fn start_of(&self, index: usize) -> Duration {
        self.length.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Returns the open window, which has this length so far.
    fn open_until(&self, length: Duration) -> Window {
        Window {
            seconds: length.as_secs_f64(),
            latency: self.latency.figures(),
            service: self.service.figures(),
            query_latency: self.query_latency.figures(),
            ..self.open.window.clone()
        }
    }
}

const SHORTEST: Duration = Duration::from_millis(1);

//! The live page: what a load does now, for a browser, and the metrics for Prometheus.

mod document;
mod page;
mod phase;
mod samples;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use self::document::{Document, Totals};
use self::page::page;
use self::samples::Samples;
use crate::tally::Tally;
use crate::telemetry::Instrumentation;
use crate::web::{Answer, Limits, Request, Server, Serving};

pub use self::phase::Phase;
pub use self::samples::Sampled;

/// What the live page shows of a load. Clones share it.
#[derive(Clone)]
pub struct Live {
    shared: Arc<Shared>,
}

struct Shared {
    /// Tells this load from another one at the same address.
    run: Uuid,
    instrumentation: Option<Arc<Instrumentation>>,
    state: Mutex<State>,
    /// Notified when a page was told that the load has ended.
    told: Notify,
}

#[derive(Default)]
struct State {
    phase: Phase,
    load: Option<CurrentLoad>,
    samples: Samples,
    /// When a page asked last.
    asked: Option<Instant>,
}

struct CurrentLoad {
    tally: Arc<Tally>,
    duration: Option<Duration>,
    totals: Option<Totals>,
    /// The second in which the load has ended.
    last: Option<u64>,
}

impl Live {
    /// Creates a page about a load that is being prepared. Without instrumentation, it has only
    /// what the tally has.
    pub fn new(instrumentation: Option<Arc<Instrumentation>>) -> Self {
        let (run, state, told) = (Uuid::now_v7(), Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { run, instrumentation, state, told }) }
    }

    /// Returns the instruments for the stores of the load. `None` if nothing collects metrics.
    pub fn telemetry(&self) -> Option<eddyline::Telemetry> {
        self.shared.instrumentation.as_ref().map(|instrumentation| instrumentation.stores())
    }

    /// Shows a load that begins now. Its duration is `None` if it is not known.
    ///
    /// Metrics are sampled in the background each second, until the load ends.
    pub fn begin(&self, tally: &Arc<Tally>, duration: Option<Duration>) {
        let (load, start) = (Arc::clone(tally), tally.settings().start);
        let mut state = self.state();
        state.phase = Phase::Running;
        state.load = Some(CurrentLoad { tally: load, duration, totals: None, last: None });
        drop(state);
        if let Some(instrumentation) = self.shared.instrumentation.clone() {
            tokio::spawn(samples::sample(self.clone(), instrumentation, start));
        }
    }

    /// Sets what is done now.
    pub fn enter(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        // The clock of the tally goes on, and the load does not.
        if let Some(load) = &mut state.load
            && load.last.is_none()
        {
            load.end();
        }
    }

    /// Answers requests on the address of a server.
    pub fn serve(&self, server: Server) -> Serving {
        let live = self.clone();
        server.serve(Limits::default(), move |request| live.answer(request))
    }

    /// Waits until an open page was told that the load has ended. This takes two seconds at most,
    /// and no time if no page is open.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn until_told(&self) {
        let told = self.shared.told.notified();
        let is_open = self.state().asked.is_some_and(|asked| asked.elapsed() < LONGEST_SILENCE);
        if is_open {
            let _ = timeout(LONGEST_WAIT, told).await;
        }
    }

    /// Answers a request. Returns `None` if there is no such page.
    pub fn answer(&self, request: &Request) -> Option<Answer> {
        match request.path.as_str() {
            "/" => Some(page()),
            "/metrics" => Some(match self.shared.instrumentation.as_ref()?.text() {
                Ok(text) => Answer::new(PROMETHEUS_TEXT, text),
                Err(error) => Answer::failed(&error.to_string()),
            }),
            "/tally.json" => Some(self.document(&request.query)),
            _ => None,
        }
    }

    /// Returns the counts. With `after=SECOND`, those of the later seconds of the load only.
    fn document(&self, query: &str) -> Answer {
        let after = query.split('&').find_map(|part| part.strip_prefix("after="));
        let after = after.and_then(|second| second.parse().ok());
        let mut state = self.state();
        state.asked = Some(Instant::now());
        let document = Document::new(self.shared.run, &mut state, after);
        drop(state);
        let is_last = document.phase.is_last();
        let json = serde_json::to_vec(&document);
        if is_last {
            self.shared.told.notify_waiters();
        }
        match json {
            Ok(json) => Answer::new("application/json", json),
            Err(error) => Answer::failed(&error.to_string()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A page that has not asked for so long is closed.
const LONGEST_SILENCE: Duration = Duration::from_secs(3);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

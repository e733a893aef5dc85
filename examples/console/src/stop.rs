//! Stopping on signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::tell;

/// A request to end the work early and to report what was done until then.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    is_set: Arc<AtomicBool>,
}

impl Stop {
    /// Sets a request at the first SIGINT or SIGTERM. The second one ends the process at once, and so
    /// does the first one after the work has ended by itself, which the program says by [`set`](Self::set).
    ///
    /// Must be called within a runtime. If the process cannot listen to a signal, the signal keeps its
    /// usual effect.
    pub fn on_signals(work: &str) -> Self {
        let stop = Self::default();
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            if let Ok(signals) = signal(kind) {
                tokio::spawn(listen(signals, kind, stop.clone(), format!("ending {work}")));
            }
        }
        stop
    }

    /// Returns whether the work is to end.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    /// Asks for the end of the work, or says that it has ended.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::Relaxed);
    }
}

async fn listen(mut signals: Signal, kind: SignalKind, stop: Stop, ending: String) {
    while signals.recv().await.is_some() {
        if stop.is_set.swap(true, Ordering::Relaxed) {
            std::process::exit(ENDED_BY_SIGNAL + kind.as_raw_value());
        }
        tell(&format!("{ending}; the next signal ends the program at once"));
    }
}

/// What a shell adds to the number of the signal that ended a program.
const ENDED_BY_SIGNAL: i32 = 128;

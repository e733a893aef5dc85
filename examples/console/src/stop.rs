//! Early end of a program after a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::print_stderr;

/// A flag that requests an early end of the work. The program then reports what it has done so far.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    is_set: Arc<AtomicBool>,
}

impl Stop {
    /// Returns a flag that the first SIGINT or SIGTERM sets. A signal that arrives when the flag is
    /// already set ends the process at once. The program calls [`set`](Self::set) when its work has
    /// ended, so that the first signal after that ends the process as well.
    ///
    /// Must be called within a tokio runtime. If the process cannot listen to a signal, the signal
    /// keeps its usual effect.
    pub fn on_signals(work: &str) -> Self {
        let stop = Self::default();
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            if let Ok(signals) = signal(kind) {
                tokio::spawn(listen(signals, kind, stop.clone(), format!("ending {work}")));
            }
        }
        stop
    }

    /// Returns whether the work must end.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    /// Sets the flag: the work must end, or has ended.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::Relaxed);
    }
}

async fn listen(mut signals: Signal, kind: SignalKind, stop: Stop, ending: String) {
    while signals.recv().await.is_some() {
        if stop.is_set.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE_BASE + kind.as_raw_value());
        }
        print_stderr(&format!("{ending}; the next signal ends the program at once"));
    }
}

/// The base of the exit code of a program that a signal ended, as in a shell.
const EXIT_CODE_BASE: i32 = 128;

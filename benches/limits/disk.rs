//! How long the disk takes to flush, whoever asks it.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::target;

/// Flushes a few bytes to a file of its own, on the disk of the cluster, again and again.
pub struct Disk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// In nanoseconds.
    longest: AtomicU64,
    is_over: AtomicBool,
}

impl Disk {
    pub fn watch() -> Self {
        let shared = Arc::new(Shared::default());
        let watched = shared.clone();
        let path = target().join("bench-cluster/flushed");
        let mut file = File::create(path).expect("a file");
        thread::spawn(move || {
            while !watched.is_over.load(Ordering::Relaxed) {
                file.rewind().and_then(|()| file.write_all(&[b'x'; 512])).expect("a write");
                let begun = Instant::now();
                file.sync_data().expect("a flush");
                let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                watched.longest.fetch_max(took, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        });
        Self { shared }
    }

    /// Returns the longest flush since it was asked for last.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.shared.longest.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// So much is little beside what the server flushes.
const PAUSE: Duration = Duration::from_millis(10);

//! A probe of the disk: the duration of `fdatasync`.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::target;

/// A thread that repeatedly writes a few bytes to a file on the disk of the cluster and calls
/// `fdatasync`.
pub struct DiskProbe {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The longest `fdatasync`, in nanoseconds.
    longest_fdatasync: AtomicU64,
    is_over: AtomicBool,
}

impl DiskProbe {
    /// Starts the thread.
    pub fn start() -> Self {
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
                watched.longest_fdatasync.fetch_max(took, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        });
        Self { shared }
    }

    /// Returns the duration of the longest `fdatasync` since the last call.
    pub fn longest_fdatasync(&self) -> Duration {
        Duration::from_nanos(self.shared.longest_fdatasync.swap(0, Ordering::Relaxed))
    }
}

impl Drop for DiskProbe {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// The pause between flushes, which keeps their load small compared with that of the server.
const PAUSE: Duration = Duration::from_millis(10);

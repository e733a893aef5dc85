//! The exchange of a request and its answer, and the distribution of injection points over its
//! bytes.

use fault_proxy::{Direction, Ending, Proxy};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::testbed::Setting;

/// The number of bytes of a request and of its answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    pub to_server: u64,
    pub to_client: u64,
}

impl Exchange {
    /// Counts the bytes that pass through the proxy while a future runs.
    pub async fn of<T>(proxy: &Proxy, awaited: impl Future<Output = T>) -> (Self, T) {
        let passed = || Direction::BOTH.map(|direction| proxy.passed(direction));
        let before = passed();
        let output = awaited.await;
        let after = passed();
        let [to_client, to_server] = [after[0] - before[0], after[1] - before[1]];
        (Self { to_server, to_client }, output)
    }

    /// Returns all injection points of this exchange after `start`, an exchange that it begins
    /// with.
    pub fn injection_points_after(self, start: Self) -> Vec<(Direction, u64)> {
        let to_server = (start.to_server..=self.to_server + LONGER_NAMES)
            .map(|after| (Direction::ToServer, after));
        let to_client =
            (start.to_client..=self.to_client).map(|after| (Direction::ToClient, after));
        to_server.chain(to_client).collect()
    }
}

/// Distributes injections over points. Returns for each injection the index of its point and a
/// variant, which depends on the seed and differs between injections at the same point. If there
/// are fewer points than injections, each point has several.
pub fn spread(injections: usize, points: usize, seed: u64) -> impl Iterator<Item = (usize, usize)> {
    let phase = SmallRng::seed_from_u64(seed).random_range(0..points.max(1));
    (0..injections).map(move |injection| {
        let point = match injections < points {
            true => (injection * points / injections + phase) % points,
            false => injection % points,
        };
        (point, point + injection / points + phase)
    })
}

/// Runs `main` to its end, and `other` at the same time.
pub async fn run_alongside(main: impl Future, other: impl Future) {
    // The future is large and may be nested in another one that is passed to this function.
    let mut main = Box::pin(main);
    tokio::select! {
        _ = &mut main => {}
        _ = other => drop(main.await),
    }
}

pub fn ending(variant: usize) -> Ending {
    if variant.is_multiple_of(2) { Ending::Reset } else { Ending::Close }
}

/// The number of events of each append into which a fault is injected. It is fixed so that the
/// length of the exchange is known.
pub const EVENTS: usize = 2;

pub const ONE_CONNECTION: Setting = Setting { max_connections: 1, ..Setting::DEFAULT };

/// The number of bytes by which the names of prepared statements may grow, which contain a counter.
const LONGER_NAMES: u64 = 6;

//! The bytes of an exchange with the server, and how blows are spread over them.

use fault_proxy::{Direction, Ending, Proxy};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::site::Setting;

/// How many bytes a request and its answer have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    pub to_server: u64,
    pub to_client: u64,
}

impl Exchange {
    /// Counts the bytes that pass until what is awaited has come about.
    pub async fn of<T>(proxy: &Proxy, awaited: impl Future<Output = T>) -> (Self, T) {
        let passed = || Direction::BOTH.map(|direction| proxy.passed(direction));
        let before = passed();
        let output = awaited.await;
        let after = passed();
        let [to_client, to_server] = [after[0] - before[0], after[1] - before[1]];
        (Self { to_server, to_client }, output)
    }

    /// Lists all places at which it can be struck, from where another one ends on that it begins
    /// with.
    pub fn places_from(self, start: Self) -> Vec<(Direction, u64)> {
        let to_server = (start.to_server..=self.to_server + LONGER_NAMES)
            .map(|after| (Direction::ToServer, after));
        let to_client =
            (start.to_client..=self.to_client).map(|after| (Direction::ToClient, after));
        to_server.chain(to_client).collect()
    }
}

/// Spreads blows over places: returns for each its place, and a turn that is another one for each
/// blow at a place, and for each seed. If there are fewer places than blows, each place has several.
pub fn spread(blows: usize, places: usize, seed: u64) -> impl Iterator<Item = (usize, usize)> {
    let phase = SmallRng::seed_from_u64(seed).random_range(0..places.max(1));
    (0..blows).map(move |blow| {
        let place = match blows < places {
            true => (blow * places / blows + phase) % places,
            false => blow % places,
        };
        (place, place + blow / places + phase)
    })
}

/// Runs one to its end, and the other meanwhile.
pub async fn during(main: impl Future, aside: impl Future) {
    // It is large, and may be part of another that goes through here.
    let mut main = Box::pin(main);
    tokio::select! {
        _ = &mut main => {}
        _ = aside => drop(main.await),
    }
}

pub fn ending(variant: usize) -> Ending {
    if variant.is_multiple_of(2) { Ending::Reset } else { Ending::Close }
}

/// How many events an append has that is struck, so that its exchange has a known length.
pub const EVENTS: usize = 2;

pub const ONE_CONNECTION: Setting = Setting { max_connections: 1, ..Setting::DEFAULT };

/// By how many bytes the names of prepared statements, which are numbers, may grow.
const LONGER_NAMES: u64 = 6;

//! Faults at random bytes of random connections.

use std::sync::Arc;
use std::time::Duration;

use fault_proxy::{Action, Direction, Ending, Proxy};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::writers::Writers;
use crate::testbed::{Setting, Testbed};
use crate::{Campaign, Failure};

pub async fn run(testbed: &Testbed) -> Result<(), Failure> {
    let mut writers = Writers::connect(testbed, Campaign::Anywhere, &[Setting::DEFAULT]).await?;
    writers.abandoned_percent = 5;
    let proxy = Arc::clone(&writers.proxy);
    writers
        .run_with(async |injector| {
            let mut under_way = JoinSet::new();
            for _ in injector.one_in(4) {
                if under_way.len() == MOST_ARMED {
                    ended(under_way.join_next().await)?;
                    injector.add_faults(1);
                }
                injector.wait_for_appends(4).await;
                under_way.spawn(injection(&proxy, &mut injector.random));
            }
            while !under_way.is_empty() {
                ended(under_way.join_next().await)?;
                injector.add_faults(1);
            }
            Ok(())
        })
        .await
}

fn ended(injection: Option<Result<(), JoinError>>) -> Result<(), Failure> {
    injection.unwrap_or(Ok(())).map_err(Failure::Task)
}

/// Injects one fault. Its byte may belong to the setup of a new connection.
fn injection(proxy: &Proxy, random: &mut SmallRng) -> impl Future<Output = ()> + use<> {
    let (direction, most) = match random.random() {
        true => (Direction::ToServer, 4_000),
        false => (Direction::ToClient, 2_000),
    };
    let ending = if random.random() { Ending::Close } else { Ending::Reset };
    let action = if random.random() { Action::Cut(ending) } else { Action::Stall };
    let fault = proxy.inject(direction, random.random_range(0..most), action);
    let pauses = [20_000, 60_000].map(|most| Duration::from_micros(random.random_range(0..most)));
    let variant = random.random_range(0..3);
    async move {
        fault.triggered().await;
        sleep(pauses[0]).await;
        match variant {
            0 => fault.cut(ending),
            1 => fault.disconnect_client(ending),
            _ => {}
        }
        sleep(pauses[1]).await;
        fault.release();
    }
}

/// The maximum number of faults that are pending at a time.
const MOST_ARMED: usize = 3;

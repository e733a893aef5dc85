//! Fire at any byte of any connection.

use std::sync::Arc;
use std::time::Duration;

use fault_proxy::{Action, Direction, Ending, Proxy};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::writers::Writers;
use crate::site::{Setting, Site};
use crate::{Campaign, Failure};

pub async fn fight(site: &Site) -> Result<(), Failure> {
    let mut writers = Writers::connect(site, Campaign::Anywhere, &[Setting::DEFAULT]).await?;
    writers.impatience = 5;
    let proxy = Arc::clone(&writers.proxy);
    writers
        .hold_out(async |director| {
            let mut under_way = JoinSet::new();
            for _ in director.one_in(4) {
                if under_way.len() == MOST_ARMED {
                    ended(under_way.join_next().await)?;
                    director.struck(1);
                }
                director.pace(4).await;
                under_way.spawn(blow(&proxy, &mut director.random));
            }
            while !under_way.is_empty() {
                ended(under_way.join_next().await)?;
                director.struck(1);
            }
            Ok(())
        })
        .await
}

fn ended(blow: Option<Result<(), JoinError>>) -> Result<(), Failure> {
    blow.unwrap_or(Ok(())).map_err(Failure::Task)
}

/// Strikes once; some bytes of a new connection are counted from its set-up on.
fn blow(proxy: &Proxy, random: &mut SmallRng) -> impl Future<Output = ()> + use<> {
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

/// How many faults are armed at a time.
const MOST_ARMED: usize = 3;

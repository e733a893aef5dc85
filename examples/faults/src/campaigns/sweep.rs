//! Fire at every byte of an append's exchange, in every layout that it can have.
//!
//! Each writer has a connection of its own, through a proxy of its own, so that the byte which is
//! struck is that of its appends. Before each blow some go unharmed: then the connection is there, with
//! its statements prepared, and only the exchange itself is counted.
//!
//! Half of an append may have taken its log's lock, and keeps it until the server loses patience. So
//! that this delays nobody else, each writer has a log.

use std::time::Duration;

use fault_proxy::{Action, Direction, Ending, Fault};
use futures_util::future::try_join_all;
use rand::RngExt;
use tokio::time::sleep;

use super::exchange::{Exchange, during, ending, spread};
use super::layout::{Lane, Layout};
use crate::checker::DEADLINE;
use crate::draft::{Draft, Form};
use crate::site::Site;
use crate::{Campaign, Failure};

/// A fault to come, and the appends that it is for.
#[derive(Clone, Copy, Debug)]
struct Blow {
    layout: Layout,
    form: Form,
    direction: Direction,
    after: u64,
    variant: usize,
}

pub async fn fight(site: &Site, campaign: Campaign) -> Result<(), Failure> {
    let mut places = Vec::new();
    let mut lane = Lane::enter(site, campaign, site.plan.writers).await?;
    for layout in Layout::ALL {
        let exchange = lane.measure(layout).await?;
        site.notes.measured(campaign, layout.name(), exchange.to_server, exchange.to_client);
        let own = exchange.places_from(Exchange::default());
        places.extend(own.into_iter().map(|place| (layout, place)));
    }
    drop(lane);
    let blows = blows(site, campaign, &places);
    let lanes = (0..site.plan.writers).map(|number| {
        let own = blows.iter().skip(number).step_by(site.plan.writers).copied();
        strike_all(site, campaign, number, own.collect())
    });
    try_join_all(lanes).await.map(drop)
}

/// Spreads the campaign's blows over all bytes of all layouts. If there are more blows than bytes,
/// each byte has several; an append that goes alone is of one form after the other.
fn blows(site: &Site, campaign: Campaign, places: &[(Layout, (Direction, u64))]) -> Vec<Blow> {
    let count = (site.plan.share(campaign) / 2).max(1) as usize;
    let spread = spread(count, places.len(), site.plan.seed);
    spread
        .map(|(place, turn)| {
            let (layout, (direction, after)) = places[place];
            let form = Form::ALL[turn % Form::ALL.len()];
            Blow { layout, form, direction, after, variant: turn / Form::ALL.len() }
        })
        .collect()
}

async fn strike_all(
    site: &Site,
    campaign: Campaign,
    number: usize,
    blows: Vec<Blow>,
) -> Result<(), Failure> {
    let mut lane = Lane::enter(site, campaign, number).await?;
    let mut layout = None;
    for blow in blows.into_iter().take_while(|_| !site.plan.stop.is_set()) {
        // What arrives late is news, and changes how others go.
        if campaign == Campaign::Stall || layout.replace(blow.layout) != Some(blow.layout) {
            lane.begin().await?;
        }
        let drafts = lane.prepare(blow.layout, blow.form).await?;
        let fault = match campaign {
            Campaign::Half => half(&mut lane, drafts, blow).await,
            Campaign::Stall => stall(&mut lane, drafts, blow, site.plan.retry).await?,
            _ => cut(&lane, drafts, blow).await,
        };
        site.notes.struck(campaign, u64::from(fault.has_triggered()));
    }
    Ok(())
}

/// What the callers are told, good or bad, is in the notes.
async fn cut(lane: &Lane<'_>, drafts: Vec<Draft>, blow: Blow) -> Fault {
    let ending = ending(blow.variant);
    let fault = lane.proxy.inject(blow.direction, blow.after, Action::Cut(ending));
    lane.append(drafts).await;
    fault
}

async fn half(lane: &mut Lane<'_>, drafts: Vec<Draft>, blow: Blow) -> Fault {
    let fault = lane.proxy.inject(blow.direction, blow.after, Action::Stall);
    let pause = Duration::from_micros(lane.writer.random.random_range(0..3_000));
    let go_on = async {
        fault.triggered().await;
        sleep(pause).await;
        match blow.variant % 3 {
            0 => fault.release(),
            variant => fault.cut(ending(variant)),
        }
    };
    during(lane.append(drafts), go_on).await;
    fault.release();
    fault
}

/// Holds bytes back; those for the server arrive in any case, sooner or later.
async fn stall(
    lane: &mut Lane<'_>,
    drafts: Vec<Draft>,
    blow: Blow,
    retries: bool,
) -> Result<Fault, Failure> {
    let fault = lane.proxy.inject(blow.direction, blow.after, Action::Stall);
    let known = lane.proxy.accepted();
    match blow.variant % 4 {
        // They arrive long after the caller was answered.
        0 => {
            let go_on = async {
                fault.triggered().await;
                fault.disconnect_client(Ending::Reset);
            };
            during(lane.append(drafts), go_on).await;
        }
        // They arrive while the store finds out what became of the append.
        1 => {
            let further = lane.writer.random.random_range(0..2_000);
            let go_on = async {
                fault.triggered().await;
                let so_far = lane.proxy.passed(Direction::ToServer);
                fault.disconnect_client(Ending::Close);
                while lane.proxy.accepted() == known
                    || lane.proxy.passed(Direction::ToServer) < so_far + further
                {
                    sleep(Duration::from_micros(200)).await;
                }
                fault.release();
            };
            during(lane.append(drafts), go_on).await;
        }
        // They arrive after the caller gave up, and appended something else.
        2 => {
            tokio::select! {
                _ = lane.append(drafts) => {}
                () = fault.triggered() => {}
            }
            fault.disconnect_client(Ending::Reset);
            lane.writer.append_one(blow.form, None).await?;
        }
        // They arrive while the caller is still waiting, or after it lost patience.
        _ => {
            let patience = match retries && blow.variant % 16 == 3 {
                true => DEADLINE,
                false => Duration::from_millis(10),
            };
            let go_on = async {
                fault.triggered().await;
                sleep(patience).await;
                fault.release();
            };
            during(lane.append(drafts), go_on).await;
        }
    }
    fault.release();
    Ok(fault)
}

//! Fire at every byte of an append's exchange.
//!
//! Each writer has a connection of its own, through a proxy of its own, so that the byte which is
//! struck is that of its append. Before each blow an append goes unharmed: then the connection is
//! there, with its statements prepared, and only the exchange itself is counted.
//!
//! Half of an append may have taken its log's lock, and keeps it until the server loses patience.
//! So that this delays few others, only two writers share a log.

use std::time::Duration;

use fault_proxy::{Action, Direction, Ending, Fault, Proxy};
use futures_util::future::try_join_all;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::checker::DEADLINE;
use crate::draft::{Draft, Form};
use crate::site::{Setting, Site, WRITERS_OF_A_LOG};
use crate::writer::Writer;
use crate::{Campaign, Failure};

/// How many bytes an append and its answer have.
#[derive(Clone, Copy, Debug, Default)]
struct Exchange {
    to_server: u64,
    to_client: u64,
}

/// A fault to come, and the append that it is for.
#[derive(Clone, Copy, Debug)]
struct Blow {
    form: Form,
    direction: Direction,
    after: u64,
    variant: usize,
}

pub async fn fight(site: &Site, campaign: Campaign) -> Result<(), Failure> {
    let exchanges = measure(site, campaign).await?;
    let [own, ..] = exchanges;
    site.notes.measured(campaign, own.to_server, own.to_client);
    let blows = blows(site, campaign, &exchanges);
    let lanes = (0..site.plan.writers).map(|number| {
        let own = blows.iter().skip(number).step_by(site.plan.writers).copied();
        strike_all(site, campaign, number, own.collect())
    });
    try_join_all(lanes).await.map(drop)
}

/// Measures the exchange of an append of each form.
async fn measure(site: &Site, campaign: Campaign) -> Result<[Exchange; 4], Failure> {
    let proxy = site.proxy(campaign).await?;
    let store = site.store(&proxy, ONE_CONNECTION).await?;
    let mut writer = Writer::new(site, campaign, site.plan.writers, store);
    let mut exchanges = [Exchange::default(); 4];
    for (form, exchange) in Form::ALL.into_iter().zip(&mut exchanges) {
        // More than once: the first time statements are prepared, and bytes that the proxy has
        // handed over may be counted only a moment later.
        for _ in 0..4 {
            let draft = writer.prepare(form, Some(EVENTS)).await?;
            let passed = || Direction::BOTH.map(|direction| proxy.passed(direction));
            let before = passed();
            writer.append(draft).await.map_err(Failure::store("measure an append"))?;
            sleep(Duration::from_millis(10)).await;
            let after = passed();
            let [to_client, to_server] = [after[0] - before[0], after[1] - before[1]];
            *exchange = Exchange { to_server, to_client };
        }
    }
    Ok(exchanges)
}

/// Spreads the campaign's blows over all bytes. If there are more blows than bytes, each byte has
/// several, of one form after the other.
fn blows(site: &Site, campaign: Campaign, exchanges: &[Exchange; 4]) -> Vec<Blow> {
    let of = |form: Form| exchanges[Form::ALL.iter().position(|&one| one == form).unwrap_or(0)];
    let longest = of(Form::Own);
    let to_server =
        (0..=longest.to_server + LONGER_NAMES).map(|after| (Direction::ToServer, after));
    let to_client = (0..=longest.to_client).map(|after| (Direction::ToClient, after));
    let places: Vec<_> = to_server.chain(to_client).collect();

    let count = (site.plan.share(campaign) / 2).max(1) as usize;
    let phase = SmallRng::seed_from_u64(site.plan.seed).random_range(0..places.len().max(1));
    (0..count)
        .map(|blow| {
            let place = match count < places.len() {
                true => (blow * places.len() / count + phase) % places.len(),
                false => blow % places.len(),
            };
            let (direction, after) = places[place];
            let turn = place + blow / places.len();
            let form = Form::ALL[turn % Form::ALL.len()];
            let length = match direction {
                Direction::ToClient => of(form).to_client,
                Direction::ToServer => of(form).to_server,
            };
            // Of the longest form, if it is past the end of this one.
            let form = if after > length { Form::Own } else { form };
            Blow { form, direction, after, variant: turn / Form::ALL.len() }
        })
        .collect()
}

async fn strike_all(
    site: &Site,
    campaign: Campaign,
    number: usize,
    blows: Vec<Blow>,
) -> Result<(), Failure> {
    let proxy = site.proxy(campaign).await?;
    let log = 1 + number / WRITERS_OF_A_LOG;
    let store = site.store(&proxy, Setting { log, ..ONE_CONNECTION }).await?;
    let mut writer = Writer::new(site, campaign, number, store);
    for blow in blows {
        writer.append_one(blow.form, None).await?;
        let draft = writer.prepare(blow.form, Some(EVENTS)).await?;
        let fault = match campaign {
            Campaign::Half => half(&mut writer, draft, &proxy, blow).await,
            Campaign::Stall => stall(&mut writer, draft, &proxy, blow, site.plan.retry).await?,
            _ => cut(&writer, draft, &proxy, blow).await,
        };
        site.notes.struck(campaign, u64::from(fault.has_struck()));
    }
    Ok(())
}

/// What the callers are told, good or bad, is in the notes.
async fn cut(writer: &Writer, draft: Draft, proxy: &Proxy, blow: Blow) -> Fault {
    let ending = ending(blow.variant);
    let fault = proxy.inflict(blow.direction, blow.after, Action::Cut(ending));
    let _ = writer.append(draft).await;
    fault
}

async fn half(writer: &mut Writer, draft: Draft, proxy: &Proxy, blow: Blow) -> Fault {
    let fault = proxy.inflict(blow.direction, blow.after, Action::Stall);
    let pause = Duration::from_micros(writer.random.random_range(0..3_000));
    let go_on = async {
        fault.struck().await;
        sleep(pause).await;
        match blow.variant % 3 {
            0 => fault.release(),
            variant => fault.cut(ending(variant)),
        }
    };
    during(writer.append(draft), go_on).await;
    fault.release();
    fault
}

/// Holds bytes back; those for the server arrive in any case, sooner or later.
async fn stall(
    writer: &mut Writer,
    draft: Draft,
    proxy: &Proxy,
    blow: Blow,
    retries: bool,
) -> Result<Fault, Failure> {
    let fault = proxy.inflict(blow.direction, blow.after, Action::Stall);
    let known = proxy.accepted();
    match blow.variant % 4 {
        // They arrive long after the caller was answered.
        0 => {
            let go_on = async {
                fault.struck().await;
                fault.hang_up(Ending::Reset);
            };
            during(writer.append(draft), go_on).await;
        }
        // They arrive while the store finds out what became of the append.
        1 => {
            let further = writer.random.random_range(0..2_000);
            let go_on = async {
                fault.struck().await;
                let so_far = proxy.passed(Direction::ToServer);
                fault.hang_up(Ending::Close);
                while proxy.accepted() == known
                    || proxy.passed(Direction::ToServer) < so_far + further
                {
                    sleep(Duration::from_micros(200)).await;
                }
                fault.release();
            };
            during(writer.append(draft), go_on).await;
        }
        // They arrive after the caller gave up, and appended something else.
        2 => {
            tokio::select! {
                _ = writer.append(draft) => {}
                () = fault.struck() => {}
            }
            fault.hang_up(Ending::Reset);
            writer.append_one(blow.form, None).await?;
        }
        // They arrive while the caller is still waiting, or after it lost patience.
        _ => {
            let patience = match retries && blow.variant % 16 == 3 {
                true => DEADLINE,
                false => Duration::from_millis(10),
            };
            let go_on = async {
                fault.struck().await;
                sleep(patience).await;
                fault.release();
            };
            during(writer.append(draft), go_on).await;
        }
    }
    fault.release();
    Ok(fault)
}

/// Runs one to its end, and the other meanwhile.
async fn during(main: impl Future<Output = Result<(), eddyline::Error>>, aside: impl Future) {
    tokio::pin!(main);
    tokio::select! {
        _ = &mut main => {}
        _ = aside => drop(main.await),
    }
}

fn ending(variant: usize) -> Ending {
    if variant.is_multiple_of(2) { Ending::Reset } else { Ending::Close }
}

/// By how many bytes the names of prepared statements, which are numbers, may grow.
const LONGER_NAMES: u64 = 6;

/// How many events an append has that is struck, so that its exchange has a known length.
const EVENTS: usize = 2;

const ONE_CONNECTION: Setting = Setting { max_connections: 1, ..Setting::DEFAULT };

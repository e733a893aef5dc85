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
use rand::RngExt;
use tokio::time::sleep;

use super::exchange::{EVENTS, Exchange, ONE_CONNECTION, during, ending, spread};
use crate::checker::DEADLINE;
use crate::draft::{Draft, Form};
use crate::site::{Setting, Site, WRITERS_OF_A_LOG};
use crate::writer::Writer;
use crate::{Campaign, Failure};

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
        // More than once: the first time statements are prepared.
        for _ in 0..4 {
            let draft = writer.prepare(form, Some(EVENTS)).await?;
            let (measured, answer) = Exchange::of(&proxy, writer.append(draft)).await;
            answer.map_err(Failure::store("measure an append"))?;
            *exchange = measured;
        }
    }
    Ok(exchanges)
}

/// Spreads the campaign's blows over all bytes. If there are more blows than bytes, each byte has
/// several, of one form after the other.
fn blows(site: &Site, campaign: Campaign, exchanges: &[Exchange; 4]) -> Vec<Blow> {
    let of = |form: Form| exchanges[Form::ALL.iter().position(|&one| one == form).unwrap_or(0)];
    let places = of(Form::Own).places_from(Exchange::default());
    let count = (site.plan.share(campaign) / 2).max(1) as usize;
    let spread = spread(count, places.len(), site.plan.seed);
    spread
        .map(|(place, turn)| {
            let (direction, after) = places[place];
            let form = Form::ALL[turn % Form::ALL.len()];
            // Of the longest form, if it is past the end of this one.
            let form = if after > of(form).to(direction) { Form::Own } else { form };
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

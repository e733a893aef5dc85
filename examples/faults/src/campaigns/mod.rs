//! The campaigns.

mod anywhere;
mod exchange;
mod layout;
mod limits;
mod line;
mod locked;
mod processes;
mod standby;
mod sweep;
mod writers;

use crate::site::Site;
use crate::{Campaign, Failure};

/// Fights a campaign to its end; its stores are dropped by then.
pub async fn fight(site: &Site, campaign: Campaign) -> Result<(), Failure> {
    match campaign {
        Campaign::Anywhere => anywhere::fight(site).await,
        Campaign::Cut | Campaign::Half | Campaign::Stall => sweep::fight(site, campaign).await,
        Campaign::Freeze => processes::freeze(site).await,
        Campaign::Kill => processes::kill(site).await,
        Campaign::Locked => locked::fight(site).await,
        Campaign::Restart => processes::restart(site).await,
        Campaign::Silence => line::silence(site).await,
        Campaign::Slow => line::slow(site).await,
        Campaign::Standby => standby::fight(site).await,
        Campaign::Slots => limits::slots(site).await,
        Campaign::Terminate => processes::terminate(site).await,
        Campaign::Timeouts => limits::timeouts(site).await,
    }
}

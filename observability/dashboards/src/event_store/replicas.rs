use super::OUTCOMES;
use crate::model::{Panel, Unit};
use crate::promql::{Selected, highest, rate, share_of_total};

/// Returns the panels about replicas.
pub fn panels() -> Vec<Panel> {
    let mut panels = freshness();
    panels.extend(routes());
    panels
}

fn freshness() -> Vec<Panel> {
    vec![
        Panel::new(
            "Replica lag",
            Unit::Count,
            "Events that the store knows of and that the replica did not show in its last answer. \
             The highest value of all processes.",
            "Above 10,000 for two minutes, the alert EventStoreReplicaLag fires. Look at the \
             replica's disks, at long queries on it (`max_standby_streaming_delay`) and at the \
             network.",
        )
        .series("{{server}}", highest("server", Selected::new("eventstore_replica_lag", ""))),
        Panel::new(
            "Replica delay",
            Unit::Seconds,
            "How long the store has known of events that the replica does not show yet. The \
             highest value of all processes.",
            "Above 30 s for two minutes, the alert EventStoreReplicaDelay fires. Reads that ask \
             for a maximal staleness fail or go to the primary until it is lower.",
        )
        .series(
            "{{server}}",
            highest("server", Selected::new("eventstore_replica_delay_seconds", "")),
        ),
        Panel::new(
            "Reads that waited for a position per second",
            Unit::ReadsPerSecond,
            "Reads for which no replica had replayed the required position. reached: a replica \
             replayed it in time. behind: none did.",
            "If behind grows, replicas lag more than `Config::replica_timeout` allows: look at \
             \"Replica delay\".",
        )
        .series(
            "{{outcome}}",
            rate("outcome", Selected::new("eventstore_replica_waits_total", "")),
        ),
    ]
}

fn routes() -> Vec<Panel> {
    vec![
        Panel::new(
            "Share of reads by server",
            Unit::Share,
            "Queries, streams and requests for the head, by the server that answered, as a share \
             of all. The shares add up to 100 percent. Decisions read from the primary.",
            "If a replica gets nothing, it is left out: look at \"Replica faults per second\" and \
             at `Store::replicas`. If the primary's share grows and the writes do not, look at the \
             fallbacks.",
        )
        .series(
            "{{server}}",
            share_of_total("server", Selected::new(OUTCOMES, "operation=~\"head|query|stream\"")),
        )
        .stacked(),
        Panel::new(
            "Fallbacks to the primary per second",
            Unit::ReadsPerSecond,
            "Reads that the primary answered as the last resort. behind: no replica was fresh \
             enough. unreachable: none could be reached.",
            "They take capacity from writes. Repair the replicas, or change the `Fallback` of the \
             store.",
        )
        .series(
            "{{reason}}",
            rate("reason", Selected::new("eventstore_replica_fallbacks_total", "")),
        ),
        Panel::new(
            "Replica faults per second",
            Unit::CountsPerSecond,
            "Times that a replica was found unfit to be read from, by reason: backwards, diverged, \
             duplicate, other_log, promoted.",
            "Any fault needs a look: the configuration names a wrong server, or a failover left a \
             server behind. The alert EventStoreReplicaFaults fires.",
        )
        .series(
            "{{server}} {{reason}}",
            rate("server, reason", Selected::new("eventstore_replica_faults_total", "")),
        ),
    ]
}

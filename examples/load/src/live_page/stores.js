"use strict";

// The groups of charts about retries, and about replicas and pools.

const STORE_GROUPS = [
  {
    title: "Retry",
    charts: [
      {
        name: "lost-rounds",
        title: "Lost rounds and retries",
        unit: "per second",
        meaning: "Another append changed what a command has read.",
        series: (history) =>
          [
            ["lost_rounds", "lost rounds", "--series-1"],
            ["escalations", "decided under the lock", "--series-4"],
            ["retries", "transient errors", "--series-5"],
          ].map(([figure, label, color]) => ({
            label,
            color,
            values: history.values((second) => second[figure]),
          })),
      },
      {
        name: "attempts",
        title: "Further attempts",
        unit: "per second",
        meaning: "Attempts of the stores after the first, by the error before them.",
        isOfStores: true,
        series: (history) => countsBy(history, "eventstore_retry_attempts_total", "reason"),
      },
      {
        name: "retry-outcomes",
        title: "Calls that were repeated",
        unit: "per second",
        meaning: "Recovered: a later attempt succeeded. Exhausted: none did.",
        isOfStores: true,
        series: (history) =>
          [
            ["recovered", "--series-3"],
            ["exhausted", "--series-5"],
            ["deadline", "--series-2"],
            ["budget", "--series-4"],
          ].map(([outcome, color]) => ({
            label: outcome,
            color,
            values: history.increases("eventstore_retry_outcomes_total", { outcome }),
          })),
      },
      {
        name: "retry-delay",
        title: "Pause before a further attempt",
        unit: "ms, mean",
        meaning: "Commands that lost a round decide again after this pause.",
        isOfStores: true,
        series: (history) => [
          { label: "pause", values: means(history, "eventstore_retry_delay_seconds", {}, 1000) },
        ],
      },
    ],
  },
  {
    title: "Replicas and pools",
    charts: [
      {
        name: "reads",
        title: "Queries answered, by server",
        unit: "per second",
        meaning: "The primary answers queries only if no replica can.",
        series: (history, { servers }) =>
          servers.map((label) => ({
            label,
            values: history.values((second) => second.reads_by_server[label] ?? 0),
          })),
      },
      {
        name: "lag",
        title: "Replication lag",
        unit: "events",
        meaning: "Known events that a replica does not show.",
        isOfStores: true,
        series: (history) => gauges(history, "eventstore_replica_lag", ({ server }) => server),
      },
      {
        name: "delay",
        title: "Replication delay",
        unit: "seconds",
        meaning: "For how long it has not shown a known event.",
        isOfStores: true,
        series: (history) =>
          gauges(history, "eventstore_replica_delay_seconds", ({ server }) => server),
      },
      {
        name: "fallbacks",
        title: "Reads on the primary",
        unit: "per second",
        meaning: "The last resort, by reason. Zero is normal.",
        isOfStores: true,
        series: (history) => countsBy(history, "eventstore_replica_fallbacks_total", "reason"),
      },
      {
        name: "connections",
        title: "Connections in use",
        unit: "connections",
        meaning: "By store and pool. If all are in use, callers wait.",
        isOfStores: true,
        series: (history) => {
          const used = ({ db_client_connection_state: state }) => state === "used";
          return gauges(history, "db_client_connection_count", poolOf, used);
        },
      },
      {
        name: "pending",
        title: "Callers without a connection",
        unit: "callers",
        meaning: "They wait for one. Zero is normal.",
        isOfStores: true,
        series: (history) => gauges(history, "db_client_connection_pending_requests", poolOf),
      },
      {
        name: "connection-wait",
        title: "Time to get a connection",
        unit: "ms, mean",
        meaning: "It grows if there are too few connections.",
        isOfStores: true,
        series: (history) => {
          const name = "db_client_connection_wait_time_seconds";
          return history.labelsOf(`${name}_count`).map((labels) => ({
            label: poolOf(labels),
            values: means(history, name, labels, 1000),
          }));
        },
      },
      {
        name: "connection-failures",
        title: "Connections that failed",
        unit: "per second",
        meaning: "Refused, or not to be had in time.",
        isOfStores: true,
        series: (history) =>
          [
            ["eventstore_connection_failures_total", "refused", "--series-5"],
            ["db_client_connection_timeouts_total", "timed out", "--series-2"],
          ].map(([name, label, color]) => ({ label, color, values: history.increases(name) })),
      },
      {
        name: "batch",
        title: "Appends in a batch",
        unit: "appends, mean",
        meaning: "They are sent together, and share a flush.",
        isOfStores: true,
        series: (history) => [{ label: "batch", values: means(history, "eventstore_append_batch") }],
      },
      {
        name: "queue",
        title: "Appends in the queue",
        unit: "appends",
        meaning: "Appends that wait now to be sent.",
        isOfStores: true,
        series: (history) =>
          gauges(history, "eventstore_append_queue", () => "queue").map((line) => ({
            ...line,
            isArea: true,
          })),
      },
    ],
  },
];

function poolOf({ store, db_client_connection_pool_name: pool }) {
  return `${store}: ${pool}`;
}

const GROUPS = [...LOAD_GROUPS, ...STORE_GROUPS];

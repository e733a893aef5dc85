"use strict";

// The groups of charts about what the load does, from the most to the least important. Each chart has
// a name, a title, a unit, a sentence about its meaning, and a function for its lines.

const LOAD_GROUPS = [
  {
    title: "Core operations",
    charts: [
      {
        name: "commands",
        title: "Commands that stored an event",
        unit: "per second",
        meaning: "Each has changed the library. By name.",
        series: (history, { commands }) => byName(history, commands, ({ success }) => success),
      },
      {
        name: "queries",
        title: "Queries answered",
        unit: "per second",
        meaning: "By name.",
        series: (history, { queries }) => byName(history, queries, ({ success }) => success),
      },
      {
        name: "rate",
        title: "Operations due and ended",
        unit: "per second",
        meaning: "If fewer end than are due, operations wait.",
        series: (history, { all }) => [
          {
            label: "ended",
            values: history.values((second) => total(second, all, sumOfOutcomes)),
            color: "--series-1",
          },
          { label: "due", values: history.values(({ due }) => due), color: "--series-2", dash: true },
        ],
      },
      {
        name: "events",
        title: "Events appended and read",
        unit: "per second, log scale",
        linearBelow: 1,
        meaning: "Commands read before they append; queries read.",
        isOfStores: true,
        series: (history) =>
          ["appended", "read"].map((direction) => ({
            label: direction,
            values: history.increases("eventstore_events_total", { direction }),
          })),
      },
    ],
  },
  {
    title: "Performance",
    charts: [
      {
        name: "command-latency",
        title: "Latency of commands",
        unit: "ms, log scale",
        meaning: "What a user waits, from the intended start.",
        isLog: true,
        series: (history) => latencies(history, "commands"),
      },
      {
        name: "query-latency",
        title: "Latency of queries",
        unit: "ms, log scale",
        meaning: "What a user waits, from the intended start.",
        isLog: true,
        series: (history) => latencies(history, "queries"),
      },
      {
        name: "append-phases",
        title: "Phases of an append",
        unit: "ms, mean",
        meaning: "Where the time of an append goes.",
        isOfStores: true,
        isStacked: true,
        series: (history) => phases(history, "append"),
      },
      {
        name: "query-phases",
        title: "Phases of a query",
        unit: "ms, mean",
        meaning: "Where the time of reading its events goes.",
        isOfStores: true,
        isStacked: true,
        series: (history) => phases(history, "stream"),
      },
      {
        name: "waiting",
        title: "Operations that wait or run",
        unit: "operations",
        meaning: "It grows if the load is too high.",
        series: (history) => [
          {
            label: "due and not ended",
            values: history.values(({ waiting }) => waiting),
            color: "--series-4",
            isArea: true,
          },
          {
            label: "began late, per second",
            values: history.values(({ late }) => late),
            color: "--series-2",
          },
        ],
      },
    ],
    table: "operations",
  },
  {
    title: "Errors",
    charts: [
      {
        name: "errors",
        title: "Errors and conflicts",
        unit: "per second",
        meaning: "Their last attempt failed. Zero is normal.",
        series: (history, { all }) =>
          ["error", "conflict"].map((label, number) => ({
            label,
            values: history.values((second) => total(second, all, (one) => one[label])),
            color: ["--series-5", "--series-2"][number],
          })),
      },
      {
        name: "error-classes",
        title: "Errors of the stores",
        unit: "per second",
        meaning: "By class. A retry may have succeeded.",
        isOfStores: true,
        series: (history) => countsBy(history, "eventstore_errors_total", "class"),
      },
    ],
    table: "errors",
  },
  {
    title: "Context",
    charts: [
      {
        name: "canceled",
        title: "Canceled and timed out",
        unit: "per second",
        meaning: "Calls of the stores. Zero is normal.",
        isOfStores: true,
        series: (history) =>
          [
            ["canceled", "canceled", "--series-6"],
            ["timeout", "timed out", "--series-5"],
          ].map(([outcome, label, color]) => ({
            label,
            color,
            values: history.increases("eventstore_operation_outcomes_total", { outcome }),
          })),
      },
    ],
  },
  {
    title: "Business logic",
    charts: [
      {
        name: "outcomes",
        title: "Idempotent and rejected",
        unit: "per second",
        meaning: "Nothing to change, or a rule forbids it.",
        series: (history, { commands }) =>
          ["idempotent", "rejected"].map((label, number) => ({
            label,
            values: history.values((second) => total(second, commands, (one) => one[label])),
            color: ["--series-3", "--series-4"][number],
          })),
      },
      {
        name: "shares",
        title: "How commands ended",
        unit: "share of all",
        meaning: "All commands since the start.",
        isBars: true,
      },
    ],
  },
];

"use strict";

// The lines of charts: the values of each second of the load.

/** Returns a line for each name, with a figure of its outcomes. */
function byName(history, names, figure) {
  return names.map((label) => ({
    label,
    values: history.values((second) => {
      const outcomes = second.operations[label];
      return outcomes ? figure(outcomes) : 0;
    }),
  }));
}

/** Returns the sum of a figure over the operations of a second. */
function total(second, names, figure) {
  const outcomes = names.map((name) => second.operations[name]).filter((one) => one);
  return outcomes.reduce((sum, one) => sum + figure(one), 0);
}

/** Returns the mean and three percentiles of a distribution. */
function latencies(history, name) {
  const times = [
    ["p99", "--series-5"],
    ["p95", "--series-2"],
    ["p50", "--series-1"],
    ["mean", "--series-6"],
  ];
  return times.map(([label, color]) => ({
    label,
    color,
    dash: label === "mean",
    values: history.values((second) => (second[name].count > 0 ? second[name][label] : null)),
  }));
}

/** Returns the mean time of each phase of an operation, in milliseconds, the largest sum on top. */
function phases(history, operation) {
  const metric = "eventstore_phase_duration_seconds_sum";
  const ended = history.increases("eventstore_operation_outcomes_total", { operation });
  const own = PHASES.map(([phase]) => {
    const seconds = history.increases(metric, { operation, phase });
    return seconds.map((sum, at) => (sum !== null && ended[at] > 0 ? (1000 * sum) / ended[at] : null));
  });
  const upTo = (last) => (_, at) => {
    const parts = own.slice(0, last + 1).map((values) => values[at]);
    return parts.includes(null) ? null : parts.reduce((sum, part) => sum + part, 0);
  };
  const stack = PHASES.map(([, label], number) => ({
    label,
    values: history.times.map(upTo(number)),
    color: `--series-${number + 1}`,
    isArea: true,
    text: (at) => (own[number][at] === null || at === null ? "" : decimal(own[number][at])),
  }));
  return stack.reverse();
}

const PHASES = [
  ["execute", "server"],
  ["decode", "decode"],
  ["acquire", "connection"],
  ["queue", "queue"],
  ["wait_replica", "replica"],
  ["pause", "pause"],
];

/** Returns a line for each combination of labels of a metric. */
function byLabels(history, name, label, values) {
  return history.labelsOf(name).map((labels) => ({
    label: label(labels),
    values: values(labels),
  }));
}

/** Returns a line for all, and one for each label that has counted anything. */
function countsBy(history, name, label) {
  const all = { label: "all", values: history.increases(name), color: "--series-6" };
  const lines = byLabels(
    history,
    name,
    (labels) => labels[label].replaceAll("_", " "),
    (labels) => history.increases(name, labels),
  );
  return [...lines, all];
}

/** Returns a line for each combination of labels of a gauge. */
function gauges(history, name, label, isShown = () => true) {
  return history
    .labelsOf(name)
    .filter(isShown)
    .map((labels) => ({ label: label(labels), values: history.levels(name, labels) }));
}

function sumOfOutcomes({ success, idempotent, rejected, conflict, error }) {
  return success + idempotent + rejected + conflict + error;
}

/** Returns the mean of a histogram in each second, or null if it has counted nothing. */
function means(history, name, labels = {}, scale = 1) {
  const [sums, counts] = ["sum", "count"].map((part) =>
    history.increases(`${name}_${part}`, labels),
  );
  return sums.map((sum, at) => (counts[at] > 0 ? (scale * sum) / counts[at] : null));
}

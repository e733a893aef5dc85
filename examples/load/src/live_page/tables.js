"use strict";

// The tiles and tables of the page, with the counts since the start of the load.

const OUTCOMES = ["success", "idempotent", "rejected", "conflict", "error"];

function drawTiles(report, history) {
  const { ordered } = history;
  const last = ordered.at(-1);
  const ended = last ? Object.values(last.operations).map(sumOfOutcomes) : [];
  const now = ended.reduce((sum, count) => sum + count, 0);
  const value = (pointer, format) => valueOf(report, pointer, format);
  document.getElementById("tiles").replaceChildren(
    tile("Now", [last ? fixed(now, 0) : "–"], ["operations in the last second"]),
    tile("Operations", [value("/load/ended", "count")], ["of ", value("/load/due", "count"), " due"]),
    tile(
      "p99 of commands",
      [value("/load/commands/latency/p99", "decimal"), " ms"],
      ["p50 ", value("/load/commands/latency/p50", "decimal"), " ms"],
    ),
    tile(
      "p99 of queries",
      [value("/load/queries/latency/p99", "decimal"), " ms"],
      ["p50 ", value("/load/queries/latency/p50", "decimal"), " ms"],
    ),
    tile(
      "Lost rounds",
      [value("/load/lost_rounds", "count")],
      [value("/load/escalations", "count"), " decided under the lock"],
    ),
    tile("Late", [value("/load/late", "count")], ["operations that began too late"]),
  );
}

/** Returns the table of commands and queries by name. */
function operationsTable(report, names) {
  const times = ["mean", "p50", "p95", "p99", "max"];
  const rows = names.map((name) => {
    const parent = pointerTo("/load/operations", name);
    const counts = OUTCOMES.map((kind) => valueOf(report, `${parent}/outcomes/${kind}`, "count"));
    const latency = times.map((time) =>
      valueOf(report, `${parent}/latencies/latency/${time}`, "decimal"),
    );
    return { cells: [name, ...counts, ...latency] };
  });
  return element(
    "div",
    {},
    element("h3", {}, "Commands and queries since the start"),
    table(["", ...OUTCOMES, ...times], rows),
    element("p", { class: "note" }, "Times in ms from the intended start."),
  );
}

/** Returns the table of errors by text. */
function errorsTable(report) {
  const texts = Object.keys(report.load.errors);
  if (texts.length === 0) {
    return element("p", { class: "note" }, "No operation has failed since the start.");
  }
  const rows = texts.map((text) => ({
    cells: [text, valueOf(report, pointerTo("/load/errors", text), "count")],
  }));
  return element(
    "div",
    {},
    element("h3", {}, "Errors since the start"),
    table(["error", "operations"], rows, 1, "wrapped"),
  );
}

/** Adds the shares of the outcomes of all commands to a report, and returns the rows for them. */
function shareRows(report, commands) {
  const outcomes = commands.map((name) => report.load.operations[name].outcomes);
  const count = (kind) => outcomes.reduce((sum, one) => sum + one[kind], 0);
  const all = OUTCOMES.reduce((sum, kind) => sum + count(kind), 0);
  report.shares = Object.fromEntries(OUTCOMES.map((kind) => [kind, count(kind) / (all || 1)]));
  return OUTCOMES.map((kind) => ({ label: kind, pointers: [pointerTo("/shares", kind)] }));
}

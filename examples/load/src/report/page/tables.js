"use strict";

// The tables of a report.

/** Creates a table of names and texts. */
function pairs(entries) {
  const rows = entries.map(([name, text]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element("td", { class: "text" }, text),
    ),
  );
  return element("table", {}, element("tbody", {}, ...rows));
}

/** Creates a list of names and texts in as many columns as fit. */
function list(entries) {
  const items = entries.map(([name, text]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, text)),
  );
  return element("dl", {}, ...items);
}

function operationsTable(report) {
  const headings = [
    "",
    "success",
    "idempotent",
    "rejected",
    "conflict",
    "error",
    "p50",
    "p95",
    "p99",
    "p99.9",
    "service p99",
  ];
  const row = (name, outcomes, latencies, isTotal) => {
    const counts = ["success", "idempotent", "rejected", "conflict", "error"];
    const times = ["latency/p50", "latency/p95", "latency/p99", "latency/p999", "service/p99"];
    return {
      isTotal,
      cells: [
        name,
        ...counts.map((count) => valueOf(report, `${outcomes}/${count}`, "count")),
        ...times.map((time) => valueOf(report, `${latencies}/${time}`, "decimal")),
      ],
    };
  };
  const names = Object.keys(report.load.operations);
  const isQuery = (name) => report.load.operations[name].group === "queries";
  const rows = (wanted) =>
    names
      .filter((name) => isQuery(name) === wanted)
      .map((name) => {
        const pointer = pointerTo("/load/operations", name);
        return row(name, `${pointer}/outcomes`, `${pointer}/latencies`, false);
      });
  return table(headings, [
    ...rows(false),
    row("all commands", "/figures/commands", "/load/commands", true),
    ...rows(true),
    row("all queries", "/figures/queries", "/load/queries", true),
  ]);
}

const SHARES = [
  ["success", "outcomes/success"],
  ["idempotent", "outcomes/idempotent"],
  ["rejected", "outcomes/rejected"],
  ["lost rounds", "lost_rounds"],
  ["lending and returning", "lending"],
  ["circulation", "circulation"],
  ["readers", "readers"],
  ["queries, of all operations", "queries"],
];

function differencesTable(report) {
  const rows = SHARES.map(([name, path]) => ({
    cells: [
      name,
      valueOf(report, `/asked/${path}`, "percent"),
      valueOf(report, `/got/${path}`, "percent"),
      valueOf(report, `/difference/${path}`, "points"),
    ],
  }));
  return table(["share of the commands", "asked", "got", "points"], rows);
}

function serversTable(report) {
  const headings = [
    "",
    "version",
    "queries answered",
    "of all",
    "reads for queries",
    "all reads",
    "of all",
    "median lag, ms",
    "greatest lag, ms",
    "CPU per operation, µs",
    "samples without answer",
  ];
  const rows = report.figures.servers.map((server, number) => {
    const value = (name, format) => valueOf(report, `/figures/servers/${number}/${name}`, format);
    return {
      cells: [
        [server.name, ...server.later_names].join(", later "),
        server.version.split(" ")[0],
        value("answered", "count"),
        value("answered_share", "percent"),
        value("query_reads", "count"),
        value("reads", "count"),
        value("reads_share", "percent"),
        value("lag_median_ms", "decimal"),
        value("lag_max_ms", "decimal"),
        value("cpu_per_operation_us", "decimal"),
        value("unanswered_samples", "count"),
      ],
    };
  });
  return table(headings, rows, 2);
}

function faultsTable(report) {
  const headings = ["fault", "result", "from, s", "to, s", "gap, s", "gap from, s", "window, s"];
  const rows = report.faults.map((fault, number) => {
    const gap = (name) => valueOf(report, `/figures/gaps/${number}/${name}`, "tenths");
    return {
      cells: [
        `${number + 1} ${fault.text}`,
        fault.error ?? "done",
        valueOf(report, `/faults/${number}/at`, "tenths"),
        valueOf(report, `/faults/${number}/until`, "tenths"),
        gap("seconds"),
        gap("from"),
        gap("resolution"),
      ],
    };
  });
  return table(headings, rows, 2);
}

function errorsTable(report) {
  const rows = Object.keys(report.load.errors).map((text) => ({
    cells: [text, valueOf(report, pointerTo("/load/errors", text), "count")],
  }));
  return table(["text", "times"], rows, 1, "wrapped");
}

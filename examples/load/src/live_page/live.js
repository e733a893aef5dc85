"use strict";

// Asks for the counts each second, and draws what is new.

const INTERVAL_MS = 1000;
const TIMEOUT_MS = 5000;
const CHART_HEIGHT = 180;
// The most charts of a group that are beside each other before the group takes a row of its own.
const MOST_IN_A_ROW = 5;

const page = {
  history: new LoadHistory(),
  report: null,
  run: null,
  drawn: new Map(),
  lostAt: null,
  // The names of commands and queries, in the order in which they have appeared. So the colors of
  // their lines stay the same when another name appears.
  names: new Set(),
};

function build() {
  const sections = GROUPS.map(({ title, charts, table: name }) => {
    const figures = charts.map((chart) => element("figure", { id: chart.name }));
    const parts = name ? [element("div", { id: `${name}-table` })] : [];
    const grid = element("div", { class: "grid" }, ...figures);
    const section = element("section", {}, element("h2", {}, title), grid, ...parts);
    section.style.setProperty("--charts", Math.min(charts.length, MOST_IN_A_ROW));
    return section;
  });
  document.getElementById("groups").replaceChildren(...sections);
  for (const chart of GROUPS.flatMap(({ charts }) => charts)) {
    explain(document.getElementById(chart.name), chart, "The load has not begun.");
  }
}

/** Returns the names of what the load has. */
function namesOf({ operations, reads_by_server: reads }) {
  Object.keys(operations).forEach((name) => page.names.add(name));
  const all = [...page.names];
  const queries = all.filter((name) => operations[name].group === "queries");
  const commands = all.filter((name) => !queries.includes(name));
  return { all: [...commands, ...queries], commands, queries, servers: Object.keys(reads) };
}

function draw() {
  const { report, history } = page;
  if (!report?.load) {
    return;
  }
  const names = namesOf(report.load);
  drawTiles(report, history);
  GROUPS.flatMap(({ charts }) => charts).forEach((chart) => drawOne(chart, names));
  document.getElementById("operations-table").replaceChildren(operationsTable(report, names.all));
  document.getElementById("errors-table").replaceChildren(errorsTable(report));
  document.body.dataset.seconds = history.seconds.size;
}

function drawOne(chart, names) {
  const { report, history, drawn } = page;
  const container = document.getElementById(chart.name);
  if (chart.isBars) {
    drawBars(container, report, {
      ...chart,
      kinds: [],
      rows: shareRows(report, names.commands),
    });
    return;
  }
  const x = history.times;
  const series = chart.series(history, names);
  const hasValues = series.some(({ values }) => values.some((value) => value !== null));
  if (!hasValues && !drawn.has(chart.name)) {
    explain(container, chart, chart.isOfStores ? "No store reports this." : "Nothing yet.");
  } else if (drawn.has(chart.name)) {
    drawn.get(chart.name).update(x, series);
  } else {
    const { series: _, isBars: __, ...options } = chart;
    const settings = { ...options, x, series, isTime: true, span: SPAN, height: CHART_HEIGHT };
    drawn.set(chart.name, drawChart(container, settings));
  }
}

function showState() {
  const { report, lostAt } = page;
  const phase = report?.phase;
  const hasEnded = ["auditing", "ended", "failed"].includes(phase);
  const state = lostAt && phase !== "failed" ? (hasEnded ? "ended" : "unreachable") : phase;
  const seconds = report?.load ? fixed(report.load.seconds, 0) : "0";
  const of = report?.duration ? ` of ${fixed(report.duration, 0)} s` : " s";
  const texts = {
    preparing: "Preparing: servers start, and books, readers and loans are imported.",
    running: `Running: ${seconds}${of}.`,
    auditing: "The load has ended. The log is audited now. These are the last values.",
    ended: "The demo has ended. These are its last values; its report has everything.",
    failed: "The demo has ended with an error, which its terminal shows.",
    unreachable: `The demo does not answer since ${lostAt?.toLocaleTimeString()}. These are its last values.`,
  };
  document.body.dataset.state = state ?? "unreachable";
  document.getElementById("state").textContent = texts[state ?? "unreachable"];
}

/** Asks for the counts after the last ones. Returns null if there is no answer. */
async function ask() {
  const { last } = page.history;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(`/tally.json${last === null ? "" : `?after=${last}`}`, { signal });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

async function poll() {
  const report = await ask();
  // The next question does not depend on what this answer does to the page.
  setTimeout(poll, INTERVAL_MS);
  if (report === null) {
    page.lostAt ??= new Date();
  } else {
    accept(report);
  }
  showState();
}

function accept(report) {
  if (page.run !== null && page.run !== report.run) {
    // Another load has begun at the same address.
    location.reload();
    return;
  }
  page.run = report.run;
  page.report = report;
  page.lostAt = null;
  page.history.add(report);
  draw();
}

build();
poll();

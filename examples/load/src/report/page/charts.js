"use strict";

// The charts of a report.

/** Draws a chart whose x axis is the time of the load, or says why it has no data. */
function drawOverTime(report, id, chart, reason) {
  const container = document.getElementById(id);
  const isEmpty = chart.series.every((series) => series.values.every((value) => value === null));
  if (chart.x.length === 0 || chart.series.length === 0 || isEmpty) {
    explain(container, { name: id, ...chart }, reason);
    return;
  }
  const { faults, load } = report;
  drawChart(container, { name: id, isTime: true, end: load.seconds, marks: faults, ...chart });
}

/** Returns the time of each window. */
function windowTimes(report) {
  return report.figures.windows.map((window) => window.at);
}

/** Returns a value of each window, of those that the load counted or those computed from them. */
function ofWindows(windows, value) {
  return windows.map((window) => value(window) ?? null);
}

function drawLatency(report) {
  const time = (kind, name) => (window) => (window[kind].count > 0 ? window[kind][name] : null);
  const values = (kind, name) => ofWindows(report.load.windows, time(kind, name));
  drawOverTime(
    report,
    "latency",
    {
      title: "Latency of commands over time",
      unit: "ms",
      isLog: true,
      x: windowTimes(report),
      series: [
        { label: "p50", values: values("latency", "p50"), color: "--series-6" },
        { label: "p99", values: values("latency", "p99"), color: "--series-1" },
        {
          label: "p99 of service time",
          values: values("service", "p99"),
          color: "--series-2",
          dash: true,
        },
      ],
    },
    "No command ended.",
  );
}

function drawDistribution(report) {
  const container = document.getElementById("distribution");
  const chart = { name: "distribution", title: "Distribution of latencies", unit: "ms, by share of operations" };
  const curves = [
    ["commands", report.load.commands.latency],
    ["service time of commands", report.load.commands.service],
    ["queries", report.load.queries.latency],
  ].filter(([, distribution]) => distribution.count > 0 && distribution.curve.length > 0);
  if (curves.length === 0) {
    explain(container, chart, "No operation ended.");
    return;
  }
  // Equal steps to the right have a tenth of the operations beyond them. A share of 1 has no place.
  const place = (share) => -Math.log10(1 - share);
  const tables = curves.map(([, { curve }]) => {
    const points = curve.filter(([share]) => share < 1);
    return [points.map(([share]) => place(share)), points.map(([, time]) => time)];
  });
  const [x, ...values] = uPlot.join(tables);
  const colors = ["--series-1", "--series-2", "--series-3"];
  const ticks = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
  drawChart(container, {
    ...chart,
    isLog: true,
    x,
    xTicks: ticks.map((share) => [place(share), `${Number((share * 100).toFixed(3))} %`]),
    xText: (position) => `${Number(((1 - 10 ** -position) * 100).toFixed(3))} % of operations`,
    series: curves.map(([label], number) => ({
      label,
      values: values[number],
      color: colors[number],
      dash: number === 1,
    })),
  });
}

function drawRate(report) {
  const windows = report.figures.windows;
  const asked = ofWindows(windows, (window) => window.rate_asked);
  const isAsked = asked.some((value) => value !== null);
  drawOverTime(
    report,
    "rate",
    {
      title: isAsked ? "Rate asked and achieved" : "Rate achieved (closed loop: none was asked for)",
      unit: "operations per second",
      x: windowTimes(report),
      series: [
        {
          label: "achieved",
          values: ofWindows(windows, (window) => window.rate_achieved),
          color: "--series-1",
        },
        ...(isAsked ? [{ label: "asked", values: asked, color: "--series-2", dash: true }] : []),
      ],
    },
    "The load has no window.",
  );
}

function drawBacklog(report) {
  const values = (name) => ofWindows(report.load.windows, (window) => window[name]);
  drawOverTime(
    report,
    "backlog",
    {
      title: "Waiting and late operations",
      unit: "operations per window",
      x: windowTimes(report),
      series: [
        {
          label: "due and not ended at the end of the window",
          values: values("pending"),
          color: "--series-4",
          isArea: true,
        },
        { label: "began late", values: values("late"), color: "--series-2" },
      ],
    },
    "The load has no window.",
  );
}

function drawOutcomes(report) {
  const kinds = [
    ["success", "--series-3"],
    ["idempotent", "--series-1"],
    ["rejected", "--series-2"],
    ["conflict", "--series-4"],
    ["error", "--series-5"],
  ];
  const rates = (kind) => ofWindows(report.figures.windows, (window) => window.commands[kind]);
  const sums = kinds.map(([kind]) => rates(kind));
  // Each area lies on top of those before it, so that the last one has the height of the sum.
  sums.slice(1).forEach((values, below) =>
    values.forEach((_, at) => {
      values[at] += sums[below][at];
    }),
  );
  const series = kinds.map(([label, color], number) => {
    const own = rates(label);
    const text = (at) => (at === null || at === undefined ? "" : decimal(own[at]));
    return { label, values: sums[number], color, isArea: true, text };
  });
  drawOverTime(
    report,
    "outcomes",
    {
      title: "Outcomes of commands, stacked",
      unit: "commands per second",
      x: windowTimes(report),
      isStacked: true,
      series: series.reverse(),
    },
    "The load has no window.",
  );
}

function drawAskedAndGot(report) {
  const rows = (shares) =>
    shares.map(([label, path]) => ({ label, pointers: [`/asked/${path}`, `/got/${path}`] }));
  const kinds = ["asked", "got"];
  drawBars(document.getElementById("asked-outcomes"), report, {
    name: "asked-outcomes",
    title: "Outcomes asked and got",
    unit: "share of the commands",
    kinds,
    rows: rows(SHARES.slice(0, 4)),
  });
  drawBars(document.getElementById("asked-mix"), report, {
    name: "asked-mix",
    title: "Mix asked and got",
    unit: "share of the commands",
    kinds,
    rows: rows(SHARES.slice(4)),
  });
}

function drawLostRounds(report) {
  const values = (name) => ofWindows(report.figures.windows, (window) => window[name]);
  drawOverTime(
    report,
    "lost-rounds",
    {
      title: "Lost rounds and retries",
      unit: "per second",
      x: windowTimes(report),
      series: [
        { label: "lost rounds", values: values("lost_rounds"), color: "--series-1", isArea: true },
        { label: "retries of transient errors", values: values("retries"), color: "--series-5" },
      ],
    },
    "The load has no window.",
  );
}

function drawHistories(report) {
  const values = ofWindows(report.figures.windows, (window) => window.events_per_command);
  drawOverTime(
    report,
    "histories",
    {
      title: "Events on which a command was decided",
      unit: "events, mean",
      x: windowTimes(report),
      series: [{ label: "events", values, color: "--series-1" }],
    },
    "No command was decided.",
  );
}

function drawBatches(report) {
  const container = document.getElementById("batches");
  const chart = {
    name: "batches",
    title: "Events per transaction",
    unit: "number of transactions, logarithmic scale",
  };
  const sizes = Object.entries(report.servers.batches?.sizes ?? {});
  if (sizes.length === 0) {
    explain(container, chart, "The sizes of the transactions are not known.");
    return;
  }
  drawChart(container, {
    ...chart,
    linearBelow: 1,
    x: sizes.map(([size]) => Number(size)),
    xText: (size) => `${size} events`,
    series: [{ label: "transactions", values: sizes.map(([, count]) => count), isBars: true }],
  });
}

function drawReads(report) {
  const windows = report.figures.windows;
  const servers = Object.keys(report.load.reads_by_server);
  drawOverTime(
    report,
    "reads",
    {
      title: "Queries answered, by server",
      unit: "per second",
      x: windowTimes(report),
      series: servers.map((label) => ({
        label,
        values: ofWindows(windows, (window) => window.reads_by_server[label] ?? 0),
      })),
    },
    "No query was answered.",
  );
  const chart = {
    name: "read-shares",
    title: "Queries and reads, by server",
    unit: "share of all servers together",
  };
  const container = document.getElementById("read-shares");
  if (report.figures.servers.length === 0) {
    explain(container, chart, "No query was answered, and no server was observed.");
    return;
  }
  drawBars(container, report, {
    ...chart,
    kinds: [
      "queries, as the answers say",
      "queries, by the servers' own statistics",
      "all reads, by the servers' own statistics",
    ],
    rows: report.figures.servers.map((server, number) => ({
      label: server.name,
      pointers: ["answered_share", "query_reads_share", "reads_share"].map(
        (name) => `/figures/servers/${number}/${name}`,
      ),
    })),
  });
}

/** Joins the samples of servers, which are taken at different times. */
function joined(lines) {
  const tables = lines.map(({ samples, value }) => [
    samples.map((sample) => sample.at),
    samples.map((sample) => value(sample) ?? null),
  ]);
  const [x, ...values] =
    tables.length > 0
      ? uPlot.join(
          tables,
          tables.map(() => [0, 2]),
        )
      : [[]];
  return {
    x,
    series: lines.map(({ label }, number) => ({ label, values: values[number] })),
  };
}

function drawLag(report) {
  const replicas = report.servers.servers.filter((server) =>
    server.samples.some((sample) => sample.lag_ms !== null),
  );
  const lines = replicas.map(({ name, samples }) => ({
    label: name,
    samples,
    value: (sample) => sample.lag_ms,
  }));
  drawOverTime(
    report,
    "lag",
    {
      title: "Replication lag",
      unit: "ms",
      linearBelow: 0.1,
      ...joined(lines),
    },
    "No replica was observed.",
  );
}

function drawWaits(report) {
  const lines = report.figures.waits.slice(0, 6).map(({ server, wait }) => ({
    label: `${server}: ${wait}`,
    samples: report.servers.servers.find(({ name }) => name === server).samples,
    value: (sample) => (sample.is_up ? (sample.waits[wait] ?? 0) : null),
  }));
  drawOverTime(
    report,
    "waits",
    {
      title: "Active sessions of servers, by what they wait for",
      unit: "sessions",
      ...joined(lines),
    },
    "No active session was seen.",
  );
}

function drawLimit(report) {
  const container = document.getElementById("limit");
  const rounds = report.limit?.rounds.filter((round) => round.steps.length > 0) ?? [];
  if (rounds.length === 0) {
    container.remove();
    return;
  }
  // A rate can be tried twice in a round, and uPlot needs different places on the x axis.
  const tables = rounds.map(({ steps }) => {
    const byRate = new Map(steps.map((step) => [step.asked, step.p99_ms]));
    const rates = [...byRate.keys()].sort((one, other) => one - other);
    return [rates, rates.map((rate) => byRate.get(rate))];
  });
  const [x, ...values] = uPlot.join(tables);
  const goal = {
    label: "goal",
    values: x.map(() => report.limit.goal_ms),
    color: "--series-6",
    dash: true,
  };
  const series = values.map((times, number) => ({
    label: `round ${number + 1}`,
    values: times,
  }));
  drawChart(container, {
    name: "limit",
    title: "p99 of commands at growing rates",
    unit: "ms",
    isLog: true,
    x,
    xText: (rate) => `${decimal(rate)} operations per second`,
    series: [...series, goal],
  });
}

"use strict";

// The texts of a report, and the order in which its parts are drawn.

function fill(id, ...children) {
  document.getElementById(id).replaceChildren(...children);
}

function showSummary(report) {
  const { figures } = report;
  const started = report.started_at.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");
  const servers = figures.servers.map((server) => server.name).join(", ");
  fill(
    "summary",
    valueOf(report, "/load/ended", "count"),
    " operations in ",
    valueOf(report, "/load/seconds", "tenths"),
    ` s: ${figures.model}; `,
    valueOf(report, "/settings/clients", "count"),
    ` clients${servers ? `, ${servers}` : ""}. Started ${started}.`,
  );
}

function showVerdict(report) {
  const { is_clean: isClean } = report.figures;
  const audit =
    isClean === null
      ? "not run"
      : element("span", { class: isClean ? "good" : "bad" }, isClean ? "clean" : "findings");
  const auditDetail =
    isClean === null
      ? ["what was stored was not checked"]
      : [
          valueOf(report, "/audit/events", "count"),
          " events, ",
          valueOf(report, "/audit/findings/count", "count"),
          " findings",
        ];
  const asked =
    report.figures.rate_asked === null
      ? ["closed loop: no rate was asked for"]
      : ["asked: ", valueOf(report, "/figures/rate_asked", "decimal"), "/s"];
  fill(
    "verdict",
    tile("Audit", [audit], auditDetail),
    tile(
      "Success",
      [valueOf(report, "/got/outcomes/success", "percent")],
      ["asked: ", valueOf(report, "/asked/outcomes/success", "percent")],
    ),
    tile(
      "p99 of commands",
      [valueOf(report, "/load/commands/latency/p99", "decimal"), " ms"],
      ["service time: ", valueOf(report, "/load/commands/service/p99", "decimal"), " ms"],
    ),
    tile("Rate", [valueOf(report, "/figures/rate_achieved", "decimal"), "/s"], asked),
  );
}

/** Shows the first lines of an audit with findings at the top of the page. */
function showFindings(report) {
  const { is_clean: isClean, audit } = report.figures;
  fill("findings", ...(isClean === false ? [audit.slice(0, 5).join("\n")] : []));
}

function showWindows(report) {
  const lateMs = report.settings.options["late-ms"];
  const late = lateMs ? ` Late is more than ${lateMs} ms after the intended start.` : "";
  const length =
    report.load.windows.length > 0
      ? [
          "Charts over time have a point for each window of ",
          valueOf(report, "/load/windows/0/seconds", "tenths"),
          " s.",
        ]
      : [];
  fill("windows", ...length, late);
}

function showSchedule(report) {
  fill(
    "schedule",
    "Of ",
    valueOf(report, "/load/due", "count"),
    " operations whose time came, ",
    valueOf(report, "/load/late", "count"),
    " began late, ",
    valueOf(report, "/figures/not_begun", "count"),
    " did not begin, and for ",
    valueOf(report, "/load/impossible", "count"),
    " the city had no suitable reader or book.",
  );
}

function showContention(report) {
  const batches =
    report.figures.batches === null
      ? []
      : [
          " A transaction has ",
          valueOf(report, "/figures/batches/events_per_transaction", "decimal"),
          " events on average and ",
          valueOf(report, "/figures/batches/largest", "count"),
          " at most.",
        ];
  fill(
    "contention",
    valueOf(report, "/load/commands_with_lost_rounds", "count"),
    " commands lost ",
    valueOf(report, "/load/lost_rounds", "count"),
    " rounds. ",
    valueOf(report, "/load/escalations", "count"),
    " decisions were made under the lock of the log. ",
    valueOf(report, "/load/retries", "count"),
    " attempts were repeated after a transient error.",
    ...batches,
  );
}

function showFaults(report) {
  if (report.faults.length === 0) {
    fill("faults", element("p", {}, "No fault was injected."));
    return;
  }
  fill(
    "faults",
    faultsTable(report),
    element(
      "p",
      { class: "note" },
      "The gap is the longest time without a successful command. It is made of whole windows, " +
        "so that the true gap is longer by less than two windows.",
    ),
  );
}

function showServers(report) {
  if (report.figures.servers.length === 0) {
    fill("servers", element("p", {}, "No server was observed."));
  } else {
    fill(
      "servers",
      serversTable(report),
      element(
        "p",
        { class: "note" },
        "Queries answered: as the answers say. Reads: by the statistics of the server itself.",
      ),
    );
  }
  fill(
    "not-observed",
    ...report.servers.not_observed.map((text) => element("li", {}, `Not observed: ${text}`)),
  );
}

function showLimit(report) {
  const { limit } = report;
  if (limit === null) {
    fill("limit-text", element("p", {}, "The highest rate was not looked for."));
    return;
  }
  const goal = [
    "The goal was a p99 of commands within ",
    valueOf(report, "/limit/goal_ms", "decimal"),
    " ms in windows of ",
    valueOf(report, "/limit/window_seconds", "tenths"),
    " s. ",
  ];
  if (report.figures.limit === null) {
    fill("limit-text", element("p", {}, ...goal, "No round found a rate that keeps it."));
    return;
  }
  const rates = limit.rounds.flatMap((_, number) => [
    number > 0 ? ", " : "",
    valueOf(report, `/limit/rounds/${number}/highest_rate`, "decimal"),
    "/s",
  ]);
  fill(
    "limit-text",
    element(
      "p",
      {},
      ...goal,
      "The highest rate that kept it was ",
      valueOf(report, "/figures/limit/median", "decimal"),
      "/s (median; rounds: ",
      ...rates,
      "; spread ",
      valueOf(report, "/figures/limit/spread", "percent"),
      " of the median).",
    ),
  );
}

function showAudit(report) {
  const lines = report.figures.audit;
  fill(
    "audit",
    lines.length > 0
      ? element("pre", {}, lines.join("\n"))
      : element("p", {}, "The audit was not run."),
  );
}

function showErrors(report) {
  const hasErrors = Object.keys(report.load.errors).length > 0;
  fill("errors", hasErrors ? errorsTable(report) : element("p", {}, "No operation failed."));
}

function showConditions(report) {
  const { figures, machine, settings } = report;
  fill(
    "conditions",
    pairs([
      [
        "machine",
        element(
          "span",
          {},
          valueOf(report, "/machine/processors", "count"),
          ` × ${machine.processor}, `,
          valueOf(report, "/machine/memory_gib", "tenths"),
          ` GiB, ${machine.system}`,
        ),
      ],
      ["eddyline", settings.eddyline],
      ["servers", figures.owner],
      ["plan", settings.plan],
      ["seed", String(settings.seed)],
      [
        "CPU per operation",
        element(
          "span",
          {},
          valueOf(report, "/cpu_per_operation_us", "decimal"),
          " µs (generator with eddyline)",
        ),
      ],
    ]),
  );
  fill("options", list(Object.entries(settings.options)));
}

function show(report) {
  showSummary(report);
  showVerdict(report);
  showFindings(report);
  drawLatency(report);
  drawDistribution(report);
  drawRate(report);
  drawBacklog(report);
  showWindows(report);
  showSchedule(report);
  showFaults(report);
  drawOutcomes(report);
  drawAskedAndGot(report);
  fill("differences", differencesTable(report));
  showContention(report);
  drawLostRounds(report);
  drawHistories(report);
  drawBatches(report);
  fill("operations", operationsTable(report));
  showServers(report);
  drawReads(report);
  drawLag(report);
  drawWaits(report);
  showLimit(report);
  drawLimit(report);
  showAudit(report);
  showErrors(report);
  showConditions(report);
}

show(JSON.parse(document.getElementById("report").textContent));
// Charts are drawn in microtasks, which have run by then.
setTimeout(() => {
  document.body.dataset.ready = "true";
}, 0);

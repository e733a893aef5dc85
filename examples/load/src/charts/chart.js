"use strict";

// Line charts with uPlot: in the size of their element, in the colors of the page.

const charts = [];

// The time axis of a load that has just begun ends here, in seconds.
const SHORTEST_SPAN = 20;

/**
 * Draws a chart into an element and returns an object with `update(x, series)`.
 *
 * `chart` has: `name`, `title`, `unit`, `x` (numbers), `series` (objects with `label`, `values`,
 * and optionally `color`, `dash`, `isArea`, `isBars`, `text`), and optionally
 * - `isLog`, or `linearBelow` for a logarithmic axis with zero that is linear below this value,
 * - `isStacked`, if each series is an area on top of the next one,
 * - `isTime`, `end` (of the time axis), `marks` (objects with `at`, `until`, `text`),
 * - `span`, if the time axis shows the last so many seconds, and the legend the last values,
 * - `meaning` (a sentence below the title), `height` (in pixels),
 * - `xTicks` (pairs of a position and a label), `xText` (a function that formats a value of `x`).
 */
function drawChart(container, chart) {
  const drawn = { container, chart, plot: null };
  const plotElement = element("div");
  container.replaceChildren(...heading(chart), plotElement);
  container.dataset.chart = chart.name;
  container.dataset.points = 0;
  drawn.build = () => {
    drawn.plot?.destroy();
    drawn.plot = new uPlot(plotOptions(drawn), plotData(chart), plotElement);
    showLast(drawn);
  };
  drawn.build();
  charts.push(drawn);
  observeWidth(drawn);
  return {
    update(x, series) {
      const labels = (list) => JSON.stringify(list.map(({ label }) => label));
      const isOther = labels(series) !== labels(chart.series);
      Object.assign(chart, { x, series });
      if (isOther) {
        drawn.build();
      } else {
        drawn.plot.setData(plotData(chart));
        showLast(drawn);
      }
    },
  };
}

/** Shows the last values in the legend of a chart of the last seconds, unless it is pointed at. */
function showLast({ chart, plot }) {
  if (chart.span && (plot.cursor.idx === null || plot.cursor.idx === undefined)) {
    const isKnown = (_, at) => chart.series.some(({ values }) => isValue(values[at]));
    plot.setLegend({ idx: chart.x.findLastIndex(isKnown) }, false);
  }
}

function isValue(value) {
  return value !== null && value !== undefined;
}

/** Shows the title of a chart and, instead of a chart, the reason why there is none. */
function explain(container, chart, reason) {
  container.dataset.chart = chart.name;
  container.dataset.points = 0;
  container.replaceChildren(...heading(chart), element("p", { class: "note" }, reason));
}

/** Returns the title of a chart, and the sentence about its meaning if it has one. */
function heading(chart) {
  const meaning = chart.meaning ? [element("p", { class: "meaning" }, chart.meaning)] : [];
  return [caption(chart), ...meaning];
}

function caption({ title, unit }) {
  const parts = unit ? [`${title} `, element("span", { class: "unit" }, unit)] : [title];
  return element("figcaption", {}, ...parts);
}

function plotData(chart) {
  const positive = (value) => (!chart.isLog || value > 0 ? value : null);
  return [chart.x, ...chart.series.map((series) => series.values.map(positive))];
}

function plotOptions(drawn) {
  const { chart, container } = drawn;
  const last = chart.x.at(-1) ?? 0;
  return {
    width: Math.max(container.clientWidth, 200),
    height: chart.height ?? (container.clientWidth < 480 ? 210 : 260),
    padding: [chart.marks?.length ? 26 : 12, 30, 0, 0],
    scales: {
      x: { time: false, range: xRange(chart) },
      y: yScale(chart),
    },
    axes: [xAxis(chart, last), yAxis(chart)],
    series: [xSeries(chart, last), ...chart.series.map(plotSeries(chart))],
    // An area of a stack ends at the next series below it.
    bands: chart.isStacked
      ? chart.series.slice(1).map((_, at) => ({ series: [at + 1, at + 2] }))
      : [],
    legend: { markers: { width: 0, fill: (plot, at) => plot.series[at].stroke() } },
    cursor: { points: { size: 6 }, drag: { x: true, y: false } },
    hooks: { drawClear: [drawBands(chart)], draw: [drawMarks(chart), countPoints(container)] },
  };
}

/** Records in the element what was drawn, so that a test can see it. */
function countPoints(container) {
  return (plot) => {
    const last = plot.series.slice(1).map(({ label }, at) => [label, plot.data[at + 1].at(-1)]);
    container.dataset.last = JSON.stringify(Object.fromEntries(last));
    const counts = plot.data.slice(1).map((values) => values.filter(isValue).length);
    container.dataset.points = counts.reduce((sum, count) => sum + count, 0);
  };
}

function xRange(chart) {
  const isBars = chart.series.some((series) => series.isBars);
  return (_, low, high) => {
    if (isBars) {
      return [low - 0.6, high + 0.6];
    }
    if (chart.span) {
      return [Math.max(0, high - chart.span), Math.max(high, SHORTEST_SPAN)];
    }
    return chart.isTime ? [0, Math.max(high, chart.end ?? 0)] : [low, high > low ? high : low + 1];
  };
}

function yScale({ isLog, linearBelow }) {
  if (isLog) {
    return { distr: 3 };
  }
  const fromZero = (_, low, high) => [0, high > 0 ? high * 1.08 : 1];
  // The inverse hyperbolic sine is linear near zero and logarithmic far from it.
  return linearBelow
    ? { distr: 4, asinh: linearBelow, range: (_, low, high) => [0, Math.max(high * 1.5, 1)] }
    : { range: fromZero };
}

/** Returns a function for zero and the powers of ten of a logarithmic axis with zero. */
function powersFrom(least) {
  const powers = Array.from({ length: 12 }, (_, at) => Number(`1e${at}`) * least);
  return (plot) => [0, ...powers.filter((power) => power <= plot.scales.y.max)];
}

function xAxis(chart, last) {
  const ticks = chart.xTicks;
  const isBars = chart.series.some((series) => series.isBars);
  const inside = (plot) => ticks.filter(([at]) => at <= plot.scales.x.max + 1e-9);
  const label = (value) => (chart.isTime ? timeLabel(value, last) : decimalTick(value));
  return {
    ...axis(),
    size: 34,
    space: isBars ? 28 : 56,
    ...(ticks && {
      splits: (plot) => inside(plot).map(([at]) => at),
      values: (plot) => inside(plot).map(([, text]) => text),
    }),
    ...(!ticks && { values: (_, splits) => splits.map(label) }),
    ...(isBars && { incrs: [1, 2, 5, 10, 20, 50, 100, 500] }),
  };
}

function yAxis(chart) {
  const label = (value) => (value === null ? "" : decimalTick(value));
  const own = axis();
  // A line for each tick of a logarithmic axis would be too many.
  const decades = (_, splits) => splits.map((at) => (Number.isInteger(Math.log10(at)) ? at : null));
  return {
    ...own,
    grid: chart.isLog ? { ...own.grid, filter: decades } : own.grid,
    size: 62,
    space: chart.isLog ? 24 : 36,
    ...(chart.linearBelow && { splits: powersFrom(chart.linearBelow) }),
    values: (_, splits) => splits.map(label),
  };
}

function axis() {
  return {
    stroke: () => color("--muted"),
    grid: { stroke: () => color("--line"), width: 1 },
    ticks: { stroke: () => color("--line"), width: 1, size: 5 },
    font: "12px system-ui, sans-serif",
  };
}

/** Formats the number of a tick without superfluous digits. */
function decimalTick(value) {
  return value.toLocaleString("en-US", { maximumFractionDigits: 3 });
}

function xSeries(chart, last) {
  const text = (value) => (chart.isTime ? timeLabel(value, last) : decimalTick(value));
  const value = (_, x) => (x === null || x === undefined ? "" : (chart.xText ?? text)(x));
  return { value };
}

function plotSeries(chart) {
  return (series, at) => {
    const name = series.color ?? `--series-${(at % 8) + 1}`;
    const number = (_, value) => (value === null || value === undefined ? "" : decimal(value));
    return {
      label: series.label,
      stroke: () => color(name),
      fill: series.isArea || series.isBars ? () => faded(color(name)) : undefined,
      width: 1.5,
      dash: series.dash ? [5, 4] : undefined,
      paths: series.isBars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
      points: { show: chart.x.length === 1, size: 6, fill: () => color(name) },
      // An update replaces the series.
      value: (plot, value, _, index) => chart.series[at]?.text?.(index) ?? number(plot, value),
    };
  };
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function faded(hex) {
  return `${hex}55`;
}

/** Draws each mark as a vertical line and a label. A label without enough space is a number. */
function drawMarks(chart) {
  return (plot) => {
    const marks = chart.marks ?? [];
    const { ctx, bbox } = plot;
    const ratio = uPlot.pxRatio;
    const left = marks.map((mark) => plot.valToPos(mark.at, "x", true));
    const isInside = (x) => x >= bbox.left && x <= bbox.left + bbox.width;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    marks.forEach((mark, at) => {
      if (!isInside(left[at])) {
        return;
      }
      ctx.fillStyle = color("--mark");
      ctx.fillRect(left[at], bbox.top - 4 * ratio, ratio, bbox.height + 4 * ratio);
      const next = left.slice(at + 1).find(isInside) ?? bbox.left + bbox.width;
      const text = `${at + 1} ${mark.text}`;
      const fits = ctx.measureText(text).width + 8 * ratio < next - left[at];
      // Labels of marks that are close together are in two rows.
      const row = fits || at % 2 === 0 ? 7 : 17;
      ctx.fillText(fits ? text : String(at + 1), left[at] - ratio, bbox.top - row * ratio);
    });
    ctx.restore();
  };
}

/** Draws a band behind the lines for the time that each mark lasts. */
function drawBands(chart) {
  return (plot) => {
    const { ctx, bbox } = plot;
    const inside = (x) => Math.min(Math.max(x, bbox.left), bbox.left + bbox.width);
    ctx.save();
    ctx.fillStyle = color("--mark-band");
    for (const { at, until } of chart.marks ?? []) {
      if (until !== null && until !== undefined) {
        const [left, right] = [at, until].map((time) => inside(plot.valToPos(time, "x", true)));
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
      }
    }
    ctx.restore();
  };
}

/** Keeps a chart as wide as its element. */
function observeWidth(drawn) {
  let width = drawn.container.clientWidth;
  new ResizeObserver(() => {
    const now = drawn.container.clientWidth;
    if (now !== width && now > 0) {
      width = now;
      const { height } = plotOptions(drawn);
      requestAnimationFrame(() => drawn.plot.setSize({ width, height }));
    }
  }).observe(drawn.container);
}

// The markers of legends do not change their color, so that the charts are drawn anew.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  charts.forEach((drawn) => drawn.build());
});

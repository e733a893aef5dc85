"use strict";

// Horizontal bars, to compare a few shares.

/**
 * Draws rows of shares into an element.
 *
 * `kinds` are the labels of the bars of a row, for the legend. Without any, there is no legend. A
 * row has a `label` and `pointers`, one for each kind.
 */
function drawBars(container, report, { name, title, unit, meaning, kinds, rows }) {
  const shares = rows.flatMap((row) => row.pointers.map((pointer) => at(report, pointer) ?? 0));
  const largest = Math.max(...shares, Number.MIN_VALUE);
  const bars = element("div", { class: "bars" });
  for (const row of rows) {
    const lines = row.pointers.map((pointer, kind) => bar(report, pointer, kind, largest));
    bars.append(element("div", {}, element("div", { class: "label" }, row.label), ...lines));
  }
  const legend = element("div", { class: "legend" });
  kinds.forEach((kind, number) => legend.append(element("span", {}, swatch(number), kind)));
  container.replaceChildren(...heading({ title, unit, meaning }), bars);
  if (kinds.length > 0) {
    container.append(legend);
  }
  container.dataset.chart = name;
  container.dataset.points = bars.querySelectorAll(".fill").length;
}

function bar(report, pointer, kind, largest) {
  const share = at(report, pointer);
  const track = element("div", { class: "track" });
  if (share !== null && share !== undefined) {
    const fill = element("div", { class: "fill" });
    fill.style.width = `${(share / largest) * 100}%`;
    fill.style.background = barColor(kind);
    track.append(fill);
  }
  const number = element("div", { class: "number" }, valueOf(report, pointer, "percent"));
  return element("div", { class: "bar" }, track, number);
}

function swatch(kind) {
  const box = element("span", { class: "swatch" });
  box.style.background = barColor(kind);
  return box;
}

function barColor(kind) {
  return `var(${["--series-6", "--series-1", "--series-3"][kind]})`;
}

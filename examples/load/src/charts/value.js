"use strict";

// Elements, and numbers that name the value of the report which they show.

/** Creates an element with attributes and children. A child that is a text stays a text. */
function element(tag, attributes = {}, ...children) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    created.setAttribute(name, value);
  }
  created.append(...children);
  return created;
}

/** Returns the value at a JSON pointer, or undefined. */
function at(report, pointer) {
  const names = pointer.split("/").slice(1);
  const unescaped = names.map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
  return unescaped.reduce((value, name) => value?.[name], report);
}

/** Returns a JSON pointer to a value below another one. */
function pointerTo(parent, name) {
  return `${parent}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** Formats a number with the same digits as the text of the report. */
function decimal(number) {
  const size = Math.abs(number);
  return fixed(number, size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** Formats a number with a fixed number of decimal places and a separator of thousands. */
function fixed(number, places) {
  const options = { minimumFractionDigits: places, maximumFractionDigits: places };
  return number.toLocaleString("en-US", options);
}

// How values are shown: a function to format a value, and the scale if it is not 1.
const FORMATS = {
  count: { format: (value) => fixed(value, 0) },
  decimal: { format: decimal },
  tenths: { format: (value) => fixed(value, 1) },
  percent: { format: (value) => fixed(value, 1), scale: 100, unit: "%" },
  points: {
    // A tiny negative difference is not shown as -0.0.
    format: (value) => (Math.abs(value) < 0.05 ? "0.0" : (value > 0 ? "+" : "") + fixed(value, 1)),
    scale: 100,
  },
};

/** Creates an element that shows a number of the report. */
function valueOf(report, pointer, formatName) {
  const { format, scale = 1, unit } = FORMATS[formatName];
  const value = at(report, pointer);
  const span = element("span", { "data-value-of": pointer, "data-scale": scale });
  const isMissing = value === null || value === undefined;
  span.textContent = isMissing ? "–" : format(value * scale);
  return unit && !isMissing ? element("span", {}, span, `\u00a0${unit}`) : span;
}

/** Formats a time since the start of the load for an axis that ends at `last`. */
function timeLabel(seconds, last) {
  if (last <= 300) {
    return `${fixed(seconds, Number.isInteger(seconds) ? 0 : 1)}\u00a0s`;
  }
  const minutes = Math.floor(seconds / 60);
  const pad = (number) => String(number).padStart(2, "0");
  if (last <= 7200) {
    return `${minutes}:${pad(Math.round(seconds % 60))}`;
  }
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)}\u00a0h`;
}

"use strict";

// Tables and tiles.

/** Creates a table. The first `texts` columns contain text, the others numbers. */
function table(headings, rows, texts = 1, name = "") {
  const cell = (tag) => (content, column) => {
    const attributes = column < texts ? {} : { class: "number" };
    return element(tag, attributes, content);
  };
  const head = element("thead", {}, element("tr", {}, ...headings.map(cell("th"))));
  const body = element("tbody");
  for (const { cells, isTotal } of rows) {
    body.append(element("tr", isTotal ? { class: "total" } : {}, ...cells.map(cell("td"))));
  }
  return element("div", { class: `scroll ${name}` }, element("table", {}, head, body));
}

/** Creates a tile: a number with its name above and a detail below. */
function tile(name, number, detail) {
  return element(
    "div",
    {},
    element("div", { class: "name" }, name),
    element("div", { class: "number" }, ...number),
    element("div", { class: "detail" }, ...detail),
  );
}

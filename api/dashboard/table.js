// Tables that become cards on narrow screens, but stay tables for screen readers. A column: [title, class].

import { h } from "./dom.js";

export function table(caption, columns, rows, kind = "") {
  return h("table", { role: "table", class: `stack ${kind}` },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" },
      h("tr", { role: "row" }, columns.map(([title, kind]) => h("th", { role: "columnheader", scope: "col", class: kind }, title)))),
    h("tbody", { role: "rowgroup" }, rows));
}

export function row(key, columns, cells) {
  return h("tr", { role: "row", key },
    cells.map((cell, place) => h("td", { role: "cell", class: columns[place][1], "data-label": columns[place][0] }, cell)));
}

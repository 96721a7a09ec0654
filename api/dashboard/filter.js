// The filter of the list: a form that writes the address, and the other way round.

import { h } from "./dom.js";
import { address } from "./route.js";
import { STATUSES } from "./status.js";

const NAMES = ["status", "task", "queue"];

export function filterOf(given) {
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""]).filter(([, value]) => value !== ""));
}

export function filterForm(filter) {
  return h("form", { class: "filter", "aria-label": "Filter", onsubmit: apply },
    h("div", { class: "field" }, h("label", { for: "filter-status" }, "Status"),
      h("select", { id: "filter-status", name: "status", onchange: (event) => event.target.form.requestSubmit() },
        h("option", { value: "" }, "any"),
        STATUSES.map((status) => h("option", { value: status, selected: filter.status === status }, status)))),
    field("Task", "task", filter),
    field("Queue", "queue", filter),
    h("div", { class: "buttons" },
      h("button", { type: "submit" }, "Filter"),
      h("a", { class: "button quiet", href: address("jobs") }, "Clear")));
}

function field(title, name, filter, more = {}) {
  const id = `filter-${name}`;
  return h("div", { class: "field" }, h("label", { for: id }, title),
    h("input", { id, name, value: filter[name] ?? "", autocomplete: "off", spellcheck: "false", ...more }));
}

function apply(event) {
  event.preventDefault();
  const given = new FormData(event.target);
  location.hash = address("jobs", Object.fromEntries(NAMES.map((name) => [name, String(given.get(name)).trim()])));
}

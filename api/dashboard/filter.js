// The filter of the list: a form that is read from the address and written to it. Times are local in the form and have a time zone
// everywhere else.

import { h } from "./dom.js";
import { address } from "./route.js";
import { STATUSES } from "./status.js";

const LINKED = { schedule: "Schedule", group: "Group" }; // have a field only when a link brought them
const NAMES = ["status", "task", "queue", "tag", ...Object.keys(LINKED), "error_kind", "text", "created_after", "created_before"];

export function filterOf(given) {
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""]).filter(([, value]) => value !== ""));
}

// Several tags are written with spaces between them; a job must have all.
const tagsOf = (filter) => (filter.tag ?? "").split(/\s+/).filter((tag) => tag !== "");

export function queryOf(filter, more = {}) {
  const { tag, ...rest } = filter;
  const query = new URLSearchParams({ ...rest, ...more });
  for (const one of tagsOf(filter)) query.append("tag", one);
  return query;
}

export function bodyOf(filter) {
  const tags = tagsOf(filter);
  const { tag, ...rest } = filter;
  return tags.length > 0 ? { ...rest, tag: tags } : rest;
}

export function filterForm(filter) {
  return h("form", { class: "filter", "aria-label": "Filter", novalidate: true, onsubmit: apply },
    h("div", { class: "field" }, h("label", { for: "filter-status" }, "Status"),
      h("select", { id: "filter-status", name: "status" },
        h("option", { value: "" }, "any"),
        STATUSES.map((status) => h("option", { value: status, selected: filter.status === status }, status)))),
    field("Task", "task", filter),
    field("Queue", "queue", filter),
    field("Tags", "tag", filter),
    Object.entries(LINKED).map(([name, title]) => name in filter && field(title, name, filter)),
    field("Text in payload or error", "text", filter, { type: "search" }),
    field("Kind of error", "error_kind", filter, { type: "search" }),
    field("Created after", "created_after", filter, { type: "datetime-local", value: toLocal(filter.created_after) }),
    field("Created before", "created_before", filter, { type: "datetime-local", value: toLocal(filter.created_before) }),
    h("div", { class: "buttons" },
      h("button", { type: "submit", class: "strong" }, "Filter"),
      h("a", { class: "button quiet", href: address("jobs") }, "Clear")));
}

function field(title, name, filter, more = {}) {
  const id = `filter-${name}`;
  return h("div", { class: "field" }, h("label", { for: id }, title),
    h("input", { id, name, autocomplete: "off", spellcheck: "false", value: filter[name] ?? "", ...more }));
}

function apply(event) {
  event.preventDefault();
  const given = new FormData(event.target);
  const values = Object.fromEntries(NAMES.map((name) => [name, String(given.get(name) ?? "").trim()]));
  for (const name of ["created_after", "created_before"]) if (values[name] !== "") values[name] = new Date(values[name]).toISOString();
  location.hash = address("jobs", values);
}

function toLocal(time) {
  const date = new Date(time ?? "");
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

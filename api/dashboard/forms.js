// The parts of forms: a labelled field with its fault, a select, and how a form's values are read.

import { h } from "./dom.js";

// `fault`: what was refused last; it is shown at its field. A field of a job is named `job.…` by the service.
export function field(title, name, fault, control) {
  const isWrong = isAt(fault, name);
  return h("div", { class: "field", key: name },
    h("label", { for: `field-${name}` }, title),
    h(control.tag, { id: `field-${name}`, name, "aria-invalid": isWrong ? "true" : null, "aria-describedby": `fault-${name}`, ...control.props }, control.children),
    h("p", { class: "fault", id: `fault-${name}`, role: "alert" }, isWrong ? fault.message : null));
}

const isAt = (fault, name) => fault !== null && (fault.field === name || fault.field === `job.${name}`);

export const input = (props) => h("input", { autocomplete: "off", spellcheck: "false", ...props });
export const area = (value, rows = 5) => h("textarea", { rows, spellcheck: "false", value });

export function select(values, chosen, words = {}) {
  return h("select", {}, values.map((value) => h("option", { key: value, value, selected: value === chosen }, words[value] ?? value)));
}

// The fault of a form that belongs to none of its fields.
export function remains(fault, names) {
  return h("p", { class: "fault", role: "alert" }, fault !== null && !names.some((name) => isAt(fault, name)) ? fault.message : null);
}

export const textOf = (given, name) => String(given.get(name) ?? "").trim();

// A number, or null where nothing was entered; what is no number is left to the service to refuse.
export function numberOf(given, name) {
  const text = textOf(given, name);
  return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
}

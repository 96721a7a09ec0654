// The fields of a form for a task with parameters, from its JSON Schema, and the payload that they make.
// Numbers and other JSON are sent as they were typed, so that no number loses digits.

import { h } from "./dom.js";

const PREFIX = "argument.";

export function argumentsOf(parameters) {
  if (parameters === null || parameters === undefined) return null; // the task takes its payload whole
  const required = new Set(parameters.required ?? []);
  return Object.entries(parameters.properties ?? {}).map(([name, schema]) => ({ name, isRequired: required.has(name), ...kindOf(schema, parameters.$defs ?? {}) }));
}

// What is typed in: `text` as it is, one of `choices`, or JSON.
function kindOf(schema, definitions) {
  const hint = "default" in schema ? `default: ${JSON.stringify(schema.default)}` : "";
  const found = resolved(schema, definitions);
  const others = (found.anyOf ?? []).map((one) => resolved(one, definitions)).filter((one) => one.type !== "null");
  const one = others.length === 1 ? others[0] : found;
  if (Array.isArray(one.enum)) return { kind: "choice", choices: one.enum.map((value) => JSON.stringify(value)), hint };
  if (one.type === "boolean") return { kind: "choice", choices: ["true", "false"], hint };
  if (one.type === "string") return { kind: "text", hint: [one.format, hint].filter(Boolean).join(", ") };
  return { kind: "json", hint: [one.type ?? "any JSON", hint].filter(Boolean).join(", ") };
}

function resolved(schema, definitions) {
  const name = schema.$ref?.split("/").pop();
  return name === undefined ? schema : definitions[name] ?? {};
}

export function argumentField(row, field) {
  const title = `${row.name}${row.isRequired ? "" : " (optional)"}`;
  const name = PREFIX + row.name;
  const choices = () => ["", ...row.choices].map((value) => h("option", { key: value, value }, value));
  return field(title, name, (more) => row.kind === "choice"
    ? h("select", { name, ...more }, choices())
    : h("input", { name, autocomplete: "off", spellcheck: "false", placeholder: row.hint, ...more }));
}

// The payload's text; `check` refuses what is no JSON. An empty field is left out.
export function payloadOf(rows, given, check) {
  const pairs = rows.flatMap((row) => {
    const text = String(given.get(PREFIX + row.name) ?? "");
    if (text === "") return [];
    if (row.kind === "json") check(PREFIX + row.name, () => JSON.parse(text), "this is no JSON");
    return [`${JSON.stringify(row.name)}:${row.kind === "text" ? JSON.stringify(text) : text}`];
  });
  return `{${pairs.join(",")}}`;
}

export const argumentNames = (rows) => rows.map((row) => PREFIX + row.name);

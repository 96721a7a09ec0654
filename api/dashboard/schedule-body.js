// The body of a schedule's PUT and preview from the form. JSON is sent as it was typed, so that no number loses digits.

import { parse, Refused } from "./api.js";
import { numberOf, textOf } from "./forms.js";

export const NAMES = ["name", "cron", "every_s", "time_zone", "task", "payload", "overlap", "catch_up", "job", "more"];
export const OVERLAP = {
  skip: "skip: the new one is left out", queue: "queue: one waits", all: "all: every one waits", replace: "replace: the one before is cancelled",
  allow: "allow: both run",
};
export const CATCH_UP = { latest: "latest: make the newest missed one", all: "all: make all that were missed", none: "none: make up for nothing" };

const ASKED = ["name", "cron", "every_s", "time_zone", "overlap", "catch_up", "job"]; // have fields of their own
const DEFAULTS = { catch_up_max: 100, jitter_s: 0, starts_at: null, ends_at: null, dst_gap: "shift", dst_fold: "first" };
const JOB_DEFAULTS = { queue: "default", priority: 5, expires_s: null, limit: null, unique: null };

// What is left of a schedule for the fields of JSON. A field of the job that has its default is left out: it is decided anew at each fire.
export const rest = {
  ofSchedule: (before) => Object.fromEntries(Object.entries(DEFAULTS)
    .filter(([name, usual]) => before !== null && before[name] !== usual && !ASKED.includes(name)).map(([name]) => [name, before[name]])),
  ofJob({ task, payload, ...fields }, known) {
    const usual = { ...JOB_DEFAULTS, ...known.find((one) => one.task === task) };
    return Object.fromEntries(Object.entries(fields).filter(([name, value]) => value !== usual[name] && !(name === "tags" && value.length === 0)));
  },
};

export function bodyOf(given, { isNamed = false } = {}) {
  const name = textOf(given, "name");
  if (isNamed && name === "") throw refused("name", "a schedule needs a name");
  const zone = textOf(given, "time_zone") || "UTC";
  const timing = { time_zone: zone, overlap: given.get("overlap"), catch_up: given.get("catch_up") };
  if (textOf(given, "cron")) timing.cron = textOf(given, "cron");
  if (textOf(given, "every_s")) timing.every_s = numberOf(given, "every_s");
  const job = joined([inner(given, "job"), `"task":${JSON.stringify(textOf(given, "task"))},"payload":${json(given, "payload")}`]);
  return { name, zone, text: joined([inner(given, "more"), inside(JSON.stringify(timing)), `"job":${job}`]) };
}

const joined = (parts) => `{${parts.filter((part) => part !== "").join(",")}}`;
const inside = (text) => text.trim().slice(1, -1).trim();

function json(given, name) {
  const text = textOf(given, name) || "null";
  try {
    parse(text);
  } catch (fault) {
    throw refused(name, `this is no JSON: ${fault.message}`);
  }
  return text;
}

// The fields of a JSON object, without its braces.
function inner(given, name) {
  const text = textOf(given, name) || "{}";
  if (!json(given, name).startsWith("{") && text !== "{}") throw refused(name, "this must be a JSON object, such as {}");
  return inside(text);
}

const refused = (field, message) => new Refused(400, { code: "invalid_field", field, message });

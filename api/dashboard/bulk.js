// Retries, cancels or deletes all jobs that a filter selects: counts them, asks for confirmation, then proceeds in steps that can be stopped.

import { Away, get, post, Refused } from "./api.js";
import { closeDialog, drawDialog, openDialog } from "./dialog.js";
import { byId, h } from "./dom.js";
import { bodyOf, queryOf } from "./filter.js";
import { count, plural } from "./format.js";
import { say } from "./notice.js";

const STEP = 200;
const PAUSE_MS = 2000;
const SPREADS = { 0: "all at once", 60: "evenly over 1 minute", 600: "evenly over 10 minutes", 3600: "evenly over 1 hour", 86400: "evenly over 1 day" };
const VERBS = {
  retry: { title: "Retry all that match", button: "Retry them", done: "retried", left: "that cannot be retried", hasSpread: true },
  delete: { title: "Delete all that match", button: "Delete them", done: "deleted", left: "that have not ended" },
  cancel: { title: "Cancel all that match", button: "Cancel them", done: "cancelled", left: "that had ended already" },
};

export async function bulk(verb, filter, live) {
  const words = VERBS[verb];
  const stop = new AbortController();
  const closed = openDialog(words.title, h("p", {}, "Counting…"), buttons(cancelButton("Keep them")));
  closed.then(() => stop.abort());
  try {
    const found = await get(`/api/jobs/count?${queryOf(filter)}`, stop.signal);
    if (!stop.signal.aborted) drawDialog(words.title, ...question(words, filter, found, () => run(verb, filter, found, stop.signal, live)));
  } catch (fault) {
    if (!stop.signal.aborted) drawDialog(words.title, h("p", { class: "fault", role: "alert" }, fault.message), buttons(cancelButton("Close")));
  }
  await closed;
}

function question(words, filter, found, go) {
  const chosen = Object.entries(filter).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);
  const those = found.is_exact ? plural(found.count, "job") : `At least ${plural(found.count, "job")}`;
  return [
    h("p", { id: "bulk-count" }, `${those} ${found.count === 1 ? "matches" : "match"}: ${chosen.length ? chosen.join(", ") : "all jobs"}.`),
    h("p", { class: "soft" }, `Those ${words.left} are left as they are.`),
    words.hasSpread && found.count > 0 && h("div", { class: "field" }, h("label", { for: "bulk-spread" }, "Due"),
      h("select", { id: "bulk-spread" }, Object.entries(SPREADS).map(([s, title]) => h("option", { value: s }, title)))),
    buttons(cancelButton("Keep them"), found.count > 0 && h("button", { key: "go", type: "button", class: "strong", onclick: go }, words.button)),
  ];
}

// Repeats steps until there is no cursor. A failed step is sent again: jobs that were changed already are skipped.
async function run(verb, filter, found, signal, live) {
  const words = VERBS[verb];
  const sums = { changed: 0, skipped: 0 };
  const spread_s = Number(byId("bulk-spread")?.value ?? 0);
  let cursor = null;
  let trouble = null;
  do {
    drawDialog(words.title, ...progress(words, sums, found, trouble));
    try {
      const step = await post(`/api/jobs/${verb}`, JSON.stringify({ filter: bodyOf(filter), limit: STEP, ...(spread_s ? { spread_s } : {}), ...(cursor ? { cursor } : {}) }), signal);
      sums.changed += step.changed;
      sums.skipped += step.skipped;
      cursor = step.cursor;
      trouble = null;
    } catch (fault) {
      if (signal.aborted) break;
      if (!(fault instanceof Away)) return failed(words, sums, fault);
      trouble = fault.message;
      await new Promise((then) => setTimeout(then, PAUSE_MS));
    }
  } while ((cursor !== null || trouble !== null) && !signal.aborted);
  const ended = `${plural(sums.changed, "job")} ${words.done}, ${count(sums.skipped)} left as they were.`;
  say(signal.aborted ? `Stopped: ${ended}` : ended);
  if (!signal.aborted) drawDialog(words.title, h("p", { id: "bulk-end", role: "status" }, ended), buttons(cancelButton("Close")));
  await live.now();
}

function failed(words, sums, fault) {
  const message = fault instanceof Refused ? fault.message : String(fault);
  drawDialog(words.title, h("p", { class: "fault", role: "alert" }, `Stopped after ${plural(sums.changed, "job")}: ${message}`), buttons(cancelButton("Close")));
}

function progress(words, sums, found, trouble) {
  const seen = sums.changed + sums.skipped;
  return [
    h("progress", { max: Math.max(found.count, seen, 1), value: seen, "aria-label": words.title }),
    h("p", { class: "soft" }, `${count(seen)} of ${found.is_exact ? "" : "at least "}${count(Math.max(found.count, seen))}`),
    trouble && h("p", { class: "fault" }, `${trouble}; trying again`),
    buttons(cancelButton("Stop")),
  ];
}

const buttons = (...shown) => h("div", { class: "buttons" }, shown);
const cancelButton = (words) => h("button", { key: "close", type: "button", onclick: () => closeDialog() }, words);

// The timeline of a job: each state and attempt with its time, and how long the job waited in between.

import { h } from "./dom.js";
import { moment, processOf, span } from "./format.js";
import { badge, ENDED } from "./status.js";

export function timeline(job, executions) {
  const events = eventsOf(job, executions);
  return h("ol", { class: "timeline" }, events.map((event, place) => entry(event, events[place - 1])));
}

// The job has only its latest due time and claim; earlier attempts are known from their executions. `where`: how the time since the
// previous event was spent.
export function eventsOf(job, executions) {
  const events = [{ key: "created", at: job.created_at, words: "Accepted", status: "pending" }];
  if (job.scheduled_at > job.created_at) {
    events.push({ key: "due", at: job.scheduled_at, words: "Due", status: "pending", where: "" });
  }
  if (job.claimed_at !== null) {
    const words = `Claimed by ${processOf(job.claimed_by)}`;
    events.push({ key: "claimed", at: job.claimed_at, words, status: "claimed", where: "pending" });
  }
  if (job.queued_at !== null) events.push({ key: "queued", at: job.queued_at, words: "Put into the queue", status: "queued", where: "claimed" });
  for (const attempt of executions) events.push(...eventsOfAttempt(attempt, job));
  if (ENDED.includes(job.status)) events.push({ key: "end", at: job.finished_at, words: `Job ${job.status}`, status: job.status, where: "" });
  return events.map((event, order) => ({ ...event, order })).sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || a.order - b.order);
}

function eventsOfAttempt(attempt, job) {
  const name = `Attempt ${attempt.attempt}`;
  const where = job.queued_at !== null && attempt.attempt === job.attempt ? "in the queue" : "waiting";
  const words = `${name} began on ${processOf(attempt.worker_id)}`;
  const begun = { key: `begun ${attempt.attempt}`, at: attempt.started_at, words, status: "running", where };
  if (attempt.finished_at === null) return [begun];
  const ended = {
    key: `ended ${attempt.attempt}`, at: attempt.finished_at, words: `${name}: ${attempt.status}`, status: attempt.status, attempt,
    where: "running",
  };
  return [begun, ended];
}

function entry(event, before) {
  const waited = before === undefined ? null : Math.max(0, Date.parse(event.at) - Date.parse(before.at));
  return h("li", { key: event.key },
    h("time", { datetime: event.at, title: event.at }, moment(event.at)),
    h("div", {},
      badge(event.status, event.words),
      waited > 0 && h("span", { class: "soft" }, ` after ${span(waited)} ${event.where}`),
      event.attempt?.error_message && h("p", { class: "line bad" }, event.attempt.error_message),
      event.attempt?.traceback && h("details", {}, h("summary", {}, "Traceback"), h("pre", { tabindex: 0 }, event.attempt.traceback))));
}

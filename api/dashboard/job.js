// A job's page: its fields, result, workflow, timeline and actions.

import { get } from "./api.js";
import { actions } from "./actions.js";
import { h, render } from "./dom.js";
import { ago, moment, span } from "./format.js";
import { graphOf, isOver, isWorkflow } from "./graph.js";
import { logs, progress } from "./logs.js";
import { address, addressOf } from "./route.js";
import { badge } from "./status.js";
import { timeline } from "./timeline.js";
import { groupLink, isWaiting, jobLink, limitLink, why } from "./why.js";

const MOST_DEPENDENCIES = 20;

export function job(root, { id }, { live }) {
  let executions = null;
  let output = null;
  let graph = null;
  let seen = null;
  return {
    title: `Job ${id}`,
    async look(signal) {
      const path = `/api/jobs/${encodeURIComponent(id)}`;
      const found = await get(path, signal);
      const state = `${found.updated_at} ${found.epoch}`;
      const reasons = isWaiting(found) ? await get(`${path}/why`, signal) : null;
      if (state !== seen) executions = await get(`${path}/executions`, signal);
      if (state !== seen || found.status === "running") output = await get(`${path}/logs`, signal);
      if (state !== seen || (isWorkflow(graph) && !isOver(graph))) graph = await get(`${path}/graph`, signal);
      seen = state;
      render(root, page(found, { executions, output, reasons, graph }, live));
    },
  };
}

function page(job, { executions, output, reasons, graph }, live) {
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", { tabindex: -1 }, job.task), h("p", { class: "id" }, job.job_id)),
      badge(job.status),
      actions(job, live)),
    facts(job),
    section("Progress", job.status === "running" ? progress(output) : null),
    section("Why it does not run yet", reasons && why(reasons)),
    section("Why it was cancelled", job.cancelled_because && because(job.cancelled_because)),
    section("Error", job.error === null ? null : [text(job.error, "bad"), traceback(executions)]),
    section("Result", job.status === "completed" ? json(job.result) : null),
    section("Payload", json(job.payload)),
    section("Workflow", isWorkflow(graph) ? graphOf(graph, job.job_id) : null),
    section("Timeline", timeline(job, executions)),
    section("Output", logs(output)),
  ];
}

function traceback(executions) {
  const words = executions.at(-1)?.traceback;
  return words && h("details", { open: executions.length === 1 }, h("summary", {}, "Traceback of the last attempt"), text(words));
}

function facts(job) {
  const rows = [
    ["Queue", job.queue], ["Priority", String(job.priority)], ["Attempts", String(job.attempt)],
    ["Retries", `${job.retry_count} of ${job.max_retries}`], ["Time-out", span(1000 * job.timeout_s)],
    ["Created", at(job.created_at)], ["Due", at(job.scheduled_at)], ["Finished", job.finished_at && at(job.finished_at)],
    ["Lost", job.lost_count ? String(job.lost_count) : null], ["Idempotency key", job.idempotency_key],
    ["Schedule", job.schedule && h("a", { href: addressOf("schedules", job.schedule) }, job.schedule)], ["Fire time", job.fire_at && at(job.fire_at)],
    ["Group", job.group && groupLink(job.group)], ["Waits for", job.after && dependencies(job.after)], ["Runs if they", job.run_if],
    ["Limits", job.limit && job.limit.flatMap((part) => [limitLink(part), " "])], ["Unique key", job.unique_key],
    ["Expires", job.expires_at && at(job.expires_at)], ["Trace", job.traceparent],
    ["Tags", job.tags.length > 0 ? job.tags.flatMap((tag) => [h("a", { key: tag, href: address("jobs", { tag }) }, tag), " "]) : null],
  ];
  return h("dl", { class: "facts" },
    rows.filter(([, value]) => value !== null).map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value))));
}

function dependencies(after) {
  const shown = after.slice(0, MOST_DEPENDENCIES).flatMap((one) => [one.group ? groupLink(one.group) : jobLink(one.job_id), " "]);
  return after.length > MOST_DEPENDENCIES ? [...shown, `and ${after.length - MOST_DEPENDENCIES} more`] : shown;
}

const BECAUSE = {
  dependency_failed: "A job that it waited for failed.", dependency_cancelled: "A job that it waited for was cancelled.",
  not_needed: "None of what it waited for failed, so it was not needed.", limit_full: "Its limit was full.", replaced: "A newer job took its place.",
  expired: "It had not begun before it expired.",
};

function because({ reason, job_id, group, limit, schedule }) {
  return h("div", { class: "reasons" }, h("p", {}, BECAUSE[reason] ?? reason), h("p", { class: "links" }, h("span", { class: "id" }, reason),
    job_id && jobLink(job_id), group && groupLink(group), limitLink(limit), schedule && h("a", { href: addressOf("schedules", schedule) }, schedule)));
}

const at = (time) => h("time", { datetime: time, title: time }, `${moment(time)} (${ago(time)})`);
const json = (value) => text(JSON.stringify(value, null, 2));
const text = (words, kind = "") => h("pre", { tabindex: 0, class: kind }, words);
const section = (title, content) => content && h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);

// A job's page: its fields, result, timeline and actions.

import { get } from "./api.js";
import { actions } from "./actions.js";
import { h, render } from "./dom.js";
import { ago, moment, span } from "./format.js";
import { logs, progress } from "./logs.js";
import { address } from "./route.js";
import { badge } from "./status.js";
import { timeline } from "./timeline.js";
import { isWaiting, why } from "./why.js";

export function job(root, { id }, { live }) {
  let executions = null;
  let output = null;
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
      seen = state;
      render(root, page(found, { executions, output, reasons }, live));
    },
  };
}

function page(job, { executions, output, reasons }, live) {
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", { tabindex: -1 }, job.task), h("p", { class: "id" }, job.job_id)),
      badge(job.status),
      actions(job, live)),
    facts(job),
    section("Progress", job.status === "running" ? progress(output) : null),
    section("Why it does not run yet", reasons && why(reasons)),
    section("Error", job.error === null ? null : [text(job.error, "bad"), traceback(executions)]),
    section("Result", job.status === "completed" ? json(job.result) : null),
    section("Payload", json(job.payload)),
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
    ["Tags", job.tags.length > 0 ? job.tags.flatMap((tag) => [h("a", { key: tag, href: address("jobs", { tag }) }, tag), " "]) : null],
  ];
  return h("dl", { class: "facts" },
    rows.filter(([, value]) => value !== null).map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value))));
}

const at = (time) => h("time", { datetime: time, title: time }, `${moment(time)} (${ago(time)})`);
const json = (value) => text(JSON.stringify(value, null, 2));
const text = (words, kind = "") => h("pre", { tabindex: 0, class: kind }, words);
const section = (title, content) => content && h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);

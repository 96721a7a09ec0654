// The list of jobs: a filter, a page, the way to the next one. The address holds all of it.

import { ask } from "./api.js";
import { h, render } from "./dom.js";
import { filterForm, filterOf } from "./filter.js";
import { ago, moment, oneLine, span } from "./format.js";
import { address } from "./route.js";
import { badge } from "./status.js";
import { row, table } from "./table.js";

const LIMIT = 50;
const COLUMNS = [
  ["Job", "name"], ["Status", ""], ["Queue", "words"], ["Priority", "number"], ["Attempts", "number"], ["Created", ""], ["Took", "number"],
  ["Payload or error", "wide"],
];

export function jobs(root, { given }) {
  const filter = filterOf(given);
  const cursor = given.get("cursor");
  const list = h("div", { id: "list" });
  render(root,
    h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Jobs")),
    filterForm(filter),
    list);
  return {
    title: "Jobs",
    async look(signal) {
      const query = new URLSearchParams({ ...filter, limit: LIMIT, ...(cursor ? { cursor } : {}) });
      const { data, headers } = await ask("GET", `/jobs?${query}`, undefined, signal);
      render(root.querySelector("#list"), page(data), pager(filter, cursor, nextOf(headers.get("Link"))));
    },
  };
}

function page(found) {
  if (found.length === 0) return h("p", { class: "none" }, "No job matches.");
  return table("Jobs, newest first", COLUMNS, found.map(jobRow));
}

function jobRow(job) {
  const link = h("a", { href: address(`jobs/${job.job_id}`) }, h("b", {}, job.task), h("span", { class: "id" }, job.job_id));
  return row(job.job_id, COLUMNS, [
    link, badge(job.status), job.queue, String(job.priority), String(job.attempt),
    h("time", { datetime: job.created_at, title: moment(job.created_at) }, ago(job.created_at)), took(job),
    h("span", { class: job.error === null ? "line" : "line bad" }, oneLine(job.error ?? job.payload)),
  ]);
}

function took(job) {
  if (job.last_run_at === null || job.status === "pending") return job.status === "pending" ? `due ${ago(job.scheduled_at)}` : "";
  const end = job.finished_at ?? (job.status === "running" ? new Date().toISOString() : null);
  return end === null ? "" : span(Math.max(0, new Date(end) - new Date(job.last_run_at)));
}

function nextOf(link) {
  const found = /[?&]cursor=([^&>]+)/.exec(link ?? "");
  return found === null ? null : decodeURIComponent(found[1].replaceAll("+", " "));
}

function pager(filter, cursor, next) {
  return h("nav", { class: "pager", "aria-label": "Pages of the list" },
    cursor ? h("a", { href: address("jobs", filter) }, "Newest jobs") : h("span", { class: "soft" }, "Newest jobs"),
    next ? h("a", { href: address("jobs", { ...filter, cursor: next }), rel: "next" }, "Older jobs") : h("span", { class: "soft" }, "No older jobs"));
}

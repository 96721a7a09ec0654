// The list of jobs: a filter, one page, links to the next one, and actions on all jobs that the filter selects. All state is in the
// address.

import { ask, Away, get } from "./api.js";
import { bulk } from "./bulk.js";
import { button } from "./buttons.js";
import { h, render } from "./dom.js";
import { filterForm, filterOf, queryOf } from "./filter.js";
import { ago, moment, oneLine, plural, span } from "./format.js";
import { address } from "./route.js";
import { badge } from "./status.js";
import { row, table } from "./table.js";

const LIMIT = 50;
const MOST_LOOKS = 4;
const COLUMNS = [
  ["Job", "name"], ["Status", ""], ["Queue", "words"], ["Priority", "number"], ["Attempts", "number"], ["Created", ""], ["Took", "number"],
  ["Payload or error", "wide"],
];

export function jobs(root, { given }, { live }) {
  const filter = filterOf(given);
  const cursor = given.get("cursor");
  const draw = (words) => render(root,
    h("div", { class: "head" },
      h("h1", { tabindex: -1 }, "Jobs"),
      h("p", { class: "soft", id: "count" }, words),
      h("div", { class: "buttons" },
        button("Retry all that match", () => all("retry")),
        button("Cancel all that match", () => all("cancel")),
        button("Delete all that match", () => all("delete")))),
    filterForm(filter),
    h("div", { key: "list", id: "list" }, shown));
  const all = async (verb) => {
    await bulk(verb, filter, live);
    counted = null;
    await live.now();
  };
  let shown = null;
  let counted = null;
  draw(null);
  return {
    title: "Jobs",
    async look(signal) {
      const { found, next } = await search(filter, cursor, signal);
      shown = [page(found, next), pager(filter, cursor, next)];
      draw(counted);
      counted ??= await counting(filter, signal);
      draw(counted);
    },
  };
}

async function counting(filter, signal) {
  try {
    const found = await get(`/api/jobs/count?${queryOf(filter)}`, signal);
    return found.is_exact ? plural(found.count, "job") : `at least ${plural(found.count, "job")}`;
  } catch (fault) {
    if (fault instanceof Away) return ""; // too many to count quickly; the list matters more
    throw fault;
  }
}

// A page of a search may end without a match: then a few of the next pages are read.
async function search(filter, cursor, signal) {
  let next = cursor;
  for (let looks = 1; ; looks += 1) {
    const query = queryOf(filter, { limit: LIMIT, ...(next ? { cursor: next } : {}) });
    const { data, headers } = await ask("GET", `/jobs?${query}`, undefined, signal);
    next = nextOf(headers.get("Link"));
    if (data.length > 0 || next === null || looks === MOST_LOOKS) return { found: data, next };
  }
}

function page(found, next) {
  if (found.length === 0) return h("p", { class: "none" }, next === null ? "No job matches." : "No job matches so far; there are older ones.");
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

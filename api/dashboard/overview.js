// The overview: jobs by status, what the workers run, every process.

import { get } from "./api.js";
import { h, render } from "./dom.js";
import { count } from "./format.js";
import { processTable } from "./processes.js";
import { address } from "./route.js";
import { badge, STATUSES } from "./status.js";
import { Slots, workerList } from "./workers.js";

export function overview(root) {
  const slots = new Slots();
  return {
    title: "Overview",
    async look(signal) {
      const stats = await get("/stats", signal);
      const running = await slots.known(stats.components, signal);
      render(root,
        h("h1", { tabindex: -1 }, "Overview"),
        jobCounts(stats.jobs),
        section("Workers", workerList(stats.components, running)),
        section("Processes", processTable(stats)));
    },
  };
}

function jobCounts(jobs) {
  if (jobs.error !== undefined) return h("p", { class: "fault" }, badge("unwell", `Jobs cannot be counted: ${jobs.error}`));
  return h("ul", { class: "counts", "aria-label": "Jobs by status" },
    STATUSES.map((status) =>
      h("li", { key: status },
        h("a", { href: address("jobs", { status }) }, h("b", {}, count(jobs[status] ?? 0)), badge(status)))));
}

function section(title, ...content) {
  return h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);
}

// The overview: jobs by status, the last hour, the workers' slots, every process.

import { get } from "./api.js";
import { h, render } from "./dom.js";
import { count } from "./format.js";
import { History } from "./history.js";
import { processTable } from "./processes.js";
import { address } from "./route.js";
import { badge, STATUSES } from "./status.js";
import { Slots, workerList } from "./workers.js";

export function overview(root) {
  const slots = new Slots();
  let stats = null;
  let running = null;

  const page = () => [
    h("h1", { tabindex: -1 }, "Overview"),
    jobCounts(stats.jobs),
    section("The last hour", history.view(root)),
    section("Workers", workerList(stats.components, running)),
    section("Processes", processTable(stats)),
  ];
  const draw = () => {
    const width = () => root.querySelector(".plot")?.clientWidth;
    const before = width();
    render(root, page());
    if (width() !== before) render(root, page()); // the charts were drawn for another width
  };
  const history = new History(draw);
  const onResize = () => (root.isConnected ? stats && draw() : removeEventListener("resize", onResize));
  addEventListener("resize", onResize);

  return {
    title: "Overview",
    async look(signal) {
      [stats] = await Promise.all([get("/stats", signal), history.look(signal)]);
      running = await slots.known(stats.components, signal);
      draw();
    },
  };
}

function jobCounts(jobs) {
  if (jobs.error !== undefined) return h("p", { class: "fault" }, badge("unhealthy", `Jobs cannot be counted: ${jobs.error}`));
  return h("ul", { class: "counts", "aria-label": "Jobs by status" },
    STATUSES.map((status) =>
      h("li", { key: status },
        h("a", { href: address("jobs", { status }) }, h("b", {}, count(jobs[status] ?? 0)), badge(status)))));
}

function section(title, ...content) {
  return h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);
}

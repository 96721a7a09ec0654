// All workers: this host's own with their slots, and the HTTP workers that have asked for jobs.

import { get } from "./api.js";
import { h, render } from "./dom.js";
import { row, table } from "./table.js";
import { Slots, workerList } from "./workers.js";
import { when } from "./zones.js";

const COLUMNS = [["HTTP worker", "name"], ["Asked last", ""], ["Tasks", "words"], ["Queues", "words"]];

export function workersPage(root) {
  const slots = new Slots();
  return {
    title: "Workers",
    async look(signal) {
      const stats = await get("/stats", signal);
      const running = await slots.known(stats.components, signal);
      const { http_workers: others } = stats;
      render(root, h("h1", { tabindex: -1 }, "Workers"),
        section("Workers of this host", workerList(stats.components, running)),
        section("HTTP workers", others.length === 0 ? h("p", { class: "none" }, "No HTTP worker has asked this host for jobs.")
          : table("HTTP workers, by name", COLUMNS, others.map(other))));
    },
  };
}

function other(one) {
  return row(one.name, COLUMNS, [one.name, when(one.last_seen_at), one.tasks.join(", "), one.queues === null ? "any" : one.queues.join(", ")]);
}

const section = (title, content) => h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);

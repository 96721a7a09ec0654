// The failed jobs by task and kind of error, the most frequent first; each group leads to its jobs, and is retried or deleted whole.

import { get } from "./api.js";
import { bulk } from "./bulk.js";
import { button } from "./buttons.js";
import { h, render } from "./dom.js";
import { count } from "./format.js";
import { address } from "./route.js";
import { row, table } from "./table.js";
import { when } from "./zones.js";

const COLUMNS = [["Kind of error", "name"], ["Jobs", "number"], ["First", ""], ["Last", ""], ["Example", ""], ["Actions", ""]];

export function failures(root, _, { live }) {
  return {
    title: "Failures",
    async look(signal) {
      const groups = await get("/api/failures", signal);
      render(root,
        h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Failures"), h("p", { class: "soft" }, words(groups))),
        groups.length === 0
          ? h("p", { class: "none" }, "No job has failed.")
          : table("Failed jobs by task and kind of error", COLUMNS, groups.map((group) => groupRow(group, live))));
    },
  };
}

function words(groups) {
  return groups.some((group) => !group.is_exact) ? "of the newest 100,000 jobs that failed" : "of all jobs that failed and are still stored";
}

function groupRow(group, live) {
  const { task, error_kind, example_job_id } = group;
  const filter = { status: "failed", task, error_kind };
  const name = `${task} ${error_kind}`;
  return row(name, COLUMNS, [
    h("a", { href: address("jobs", filter) }, h("b", {}, task), h("span", { class: "line bad" }, error_kind)), count(group.count),
    when(group.first_at), when(group.last_at), h("a", { class: "id", href: address(`jobs/${example_job_id}`) }, `…${example_job_id.slice(-8)}`),
    h("div", { class: "buttons small" },
      button("Retry", () => bulk("retry", filter, live), { name }), button("Delete", () => bulk("delete", filter, live), { name })),
  ]);
}

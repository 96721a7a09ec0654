// The failed jobs by task and kind of error, the most frequent first; each group leads to its jobs.

import { get } from "./api.js";
import { h, render } from "./dom.js";
import { ago, count, moment } from "./format.js";
import { address } from "./route.js";
import { row, table } from "./table.js";

const COLUMNS = [["Kind of error", "name"], ["Jobs", "number"], ["First", ""], ["Last", ""], ["Example", ""]];

export function failures(root) {
  return {
    title: "Failures",
    async look(signal) {
      const groups = await get("/api/failures", signal);
      render(root,
        h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Failures"), h("p", { class: "soft" }, words(groups))),
        groups.length === 0
          ? h("p", { class: "none" }, "No job has failed.")
          : table("Failed jobs by task and kind of error", COLUMNS, groups.map(groupRow)));
    },
  };
}

function words(groups) {
  return groups.some((group) => !group.is_exact) ? "of the newest 100,000 jobs that failed" : "of all jobs that failed and are still stored";
}

function groupRow(group) {
  const { task, error_kind, example_job_id } = group;
  const those = address("jobs", { status: "failed", task, error_kind });
  return row(`${task} ${error_kind}`, COLUMNS, [
    h("a", { href: those }, h("b", {}, task), h("span", { class: "line bad" }, error_kind)), count(group.count), at(group.first_at),
    at(group.last_at), h("a", { class: "id", href: address(`jobs/${example_job_id}`) }, example_job_id),
  ]);
}

const at = (time) => h("time", { datetime: time, title: moment(time) }, ago(time));

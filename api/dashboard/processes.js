// The table of all processes: pid, memory, CPU time, restarts, health.

import { h } from "./dom.js";
import { age, count, size } from "./format.js";
import { badge } from "./status.js";
import { row, table } from "./table.js";

const COLUMNS = [
  ["Process", "name"], ["Health", ""], ["Pid", "number"], ["Memory", "number"], ["CPU", "number"], ["Restarts", "number"],
  ["Up for", "number"],
];

export function processTable({ processes, components }) {
  if (processes.length === 0) return h("p", { class: "none" }, "No supervisor answers; each component was started alone.");
  return table("Processes", COLUMNS, processes.map((process) => row(process.name, COLUMNS, [
    process.name, health(process, components[process.name]), process.pid === null ? "none" : String(process.pid),
    size(process.rss_bytes), `${process.cpu_percent.toFixed(1)} %`, count(process.restarts), age(process.uptime_s),
  ])), "dense");
}

function health(process, counters) {
  if (process.status !== "running") return badge("unhealthy", process.status);
  return counters?.error === undefined ? badge("completed", "healthy") : badge("unhealthy", counters.error);
}

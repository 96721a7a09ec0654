// The workers and their slots: the job in each, and its duration.

import { get, Refused } from "./api.js";
import { h } from "./dom.js";
import { count, span } from "./format.js";
import { address } from "./route.js";

const LONG_S = 1; // the task's name is not requested for shorter jobs

// The task names of the running jobs, requested once per job.
export class Slots {
  #tasks = new Map();

  async known(components, signal) {
    const running = Object.values(components).flatMap((counters) => counters.executors ?? []).filter((slot) => slot.job_id !== null);
    const ids = new Set(running.map((slot) => slot.job_id));
    for (const id of this.#tasks.keys()) if (!ids.has(id)) this.#tasks.delete(id);
    const news = running.filter((slot) => slot.running_s >= LONG_S && !this.#tasks.has(slot.job_id));
    await Promise.all(news.map((slot) => this.#learn(slot.job_id, signal)));
    return this.#tasks;
  }

  async #learn(id, signal) {
    try {
      this.#tasks.set(id, (await get(`/api/jobs/${id}`, signal)).task);
    } catch (fault) {
      if (!(fault instanceof Refused)) throw fault; // the job has finished and was purged
    }
  }
}

export function workerList(components, tasks) {
  const workers = Object.entries(components).filter(([, counters]) => "executors" in counters);
  if (workers.length === 0) return h("p", { class: "none" }, "No worker answers.");
  return h("ul", { class: "workers" }, workers.map(([name, counters]) => worker(name, counters, tasks)));
}

function worker(name, counters, tasks) {
  const busy = counters.executors.filter((slot) => slot.job_id !== null).length;
  const ended = `${count(counters.jobs_succeeded)} succeeded, ${count(counters.jobs_failed)} failed, ${count(counters.jobs_retried)} retried`;
  return h("li", { key: name },
    h("div", { class: "worker" }, h("h3", {}, name), h("p", {}, `${busy} of ${counters.concurrency} busy`), h("p", { class: "soft" }, ended)),
    h("ol", { class: "slots", "aria-label": `Slots of ${name}` }, counters.executors.map((slot) => slotOf(slot, tasks))));
}

function slotOf(slot, tasks) {
  if (slot.job_id === null) return h("li", { key: slot.pid, class: "slot free" }, h("span", {}, "free"));
  return h("li", { key: slot.pid, class: "slot" },
    h("a", { href: address(`jobs/${slot.job_id}`), title: `job ${slot.job_id}, process ${slot.pid}` },
      h("b", {}, tasks.get(slot.job_id) ?? "just begun"),
      h("span", { class: "id" }, `…${slot.job_id.slice(-8)}`),
      h("span", { class: "soft" }, span(1000 * slot.running_s))));
}

// Queues and tasks: what waits and for how long, what has run and failed; each can be paused and resumed here.

import { get, getText, post } from "./api.js";
import { act, button } from "./buttons.js";
import { h, render } from "./dom.js";
import { age, count } from "./format.js";
import { limitState } from "./limits.js";
import { askPause } from "./pausing.js";
import { address } from "./route.js";
import { samplesOf } from "./samples.js";
import { row, table } from "./table.js";

const QUEUES = [["Queue", "name"], ["State", ""], ["Due", "number"], ["Oldest due", "number"], ["Running", "number"], ["Failed", "number"], ["Actions", ""]];
const TASKS = [["Task", "name"], ["State", ""], ["Due", "number"], ["Oldest due", "number"], ["Running", "number"], ["Failed", "number"],
  ["Tries that succeeded", "number"], ["that failed", "number"], ["Actions", ""]];
const DUE = { queue: ["jobyard_jobs_due", "jobyard_oldest_due_job_seconds"], task: ["jobyard_task_jobs_due", "jobyard_task_oldest_due_job_seconds"] };
const ATTEMPTS = "jobyard_attempts_total";
const MOST_COUNTED = 25; // of queues and of tasks; each count is a request

export function queues(root, _, { live }) {
  const counts = { queue: new Counts("queue"), task: new Counts("task") };
  return {
    title: "Queues and tasks",
    async look(signal) {
      const [text, limits, tasks, stats] = await Promise.all([
        getText("/metrics", signal), get("/api/limits", signal), get("/api/tasks", signal), get("/stats", signal)]);
      const samples = samplesOf(text, [...DUE.queue, ...DUE.task, ATTEMPTS]);
      const names = { queue: namesOf("queue", samples, limits, ["default"]), task: namesOf("task", samples, limits, tasks.map((one) => one.task)) };
      await Promise.all(["queue", "task"].map((kind) => counts[kind].look(names[kind], stats.jobs, signal)));
      const rows = (kind, columns) => names[kind].map((name) => lineOf(kind, columns, name, { samples, limits, counts: counts[kind], live }));
      render(root, h("h1", { tabindex: -1 }, "Queues and tasks"),
        section("Queues", table("Queues, by name", QUEUES, rows("queue", QUEUES))), section("Tasks", table("Tasks, by name", TASKS, rows("task", TASKS))),
        h("p", { class: "soft" }, "Tries are those of this host's present workers. Queues are those with due jobs or a limit, and the default one."));
    },
  };
}

// How many run and how many have failed, asked anew only when the numbers of the whole system have changed.
class Counts {
  #seen = null;
  #found = new Map();

  constructor(kind) {
    this.kind = kind;
  }

  async look(names, jobs, signal) {
    const news = JSON.stringify([names, jobs.running, jobs.failed]);
    if (news === this.#seen) return;
    const found = await Promise.all(names.slice(0, MOST_COUNTED).map(async (name) => [name, {
      running: jobs.running ? await this.#ask(name, "running", signal) : "0", failed: jobs.failed ? await this.#ask(name, "failed", signal) : "0" }]));
    this.#found = new Map(found);
    this.#seen = news;
  }

  of = (name) => this.#found.get(name) ?? { running: "", failed: "" };

  async #ask(name, status, signal) {
    const found = await get(`/api/jobs/count?${new URLSearchParams({ status, [this.kind]: name })}`, signal);
    return `${found.is_exact ? "" : "≥ "}${count(found.count)}`;
  }
}

function namesOf(kind, samples, limits, more) {
  const limited = limits.filter((one) => one.name.startsWith(`${kind}:`)).map((one) => one.name.slice(kind.length + 1));
  return [...new Set([...more, ...samples.map((one) => one.labels[kind]).filter((name) => name !== undefined), ...limited])].sort();
}

function lineOf(kind, columns, name, { samples, limits, counts, live }) {
  const sum = (metric, labels = {}) => samples.filter((one) => one.name === metric && one.labels[kind] === name
    && Object.entries(labels).every(([label, value]) => one.labels[label] === value)).reduce((all, one) => all + one.value, 0);
  const limit = limits.find((one) => one.name === `${kind}:${name}`) ?? null;
  const due = sum(DUE[kind][0]);
  const succeeded = sum(ATTEMPTS, { outcome: "success" });
  const link = (status, words) => h("a", { href: address("jobs", { status, [kind]: name }) }, words);
  const attempts = kind === "task" ? [count(succeeded), count(sum(ATTEMPTS) - succeeded)] : [];
  const { running, failed } = counts.of(name);
  return row(name, columns, [h("a", { href: address("jobs", { [kind]: name }) }, h("b", {}, name)), limit === null ? "" : limitState(limit),
    count(due), due === 0 ? "" : age(sum(DUE[kind][1])), link("running", running), link("failed", failed), ...attempts,
    verbs(`${kind}:${name}`, limit, live)]);
}

function verbs(name, limit, live) {
  const path = `/api/limits/${encodeURIComponent(name)}`;
  const pause = async () => {
    const body = await askPause(`Pause ${name}?`, { hasEnd: true });
    if (body !== null) await act(() => post(`${path}/pause`, JSON.stringify(body)), `${name} is paused.`, live);
  };
  return h("div", { class: "buttons small" }, limit === null || limit.paused === null ? button("Pause", pause, { name })
    : button("Resume", () => act(() => post(`${path}/resume`), `${name} runs again.`, live), { name }));
}

const section = (title, content) => h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);

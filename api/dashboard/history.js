// The last hour in six small charts: accepted jobs, their outcomes, delays and durations, and the queue's depth.

import { get } from "./api.js";
import { figure, MINUTES } from "./charts.js";
import { h } from "./dom.js";
import { count, plural, span } from "./format.js";

const MINUTE_MS = 60_000;
const SOME_WIDTH = 340;
const PRIORITIES = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0];

export class History {
  #found = null;
  #picked = null;

  // `redraw` renders the page again from the data at hand.
  constructor(redraw) {
    this.pick = (place) => {
      if (place === this.#picked) return;
      this.#picked = place;
      redraw();
    };
  }

  async look(signal) {
    this.#found = await get("/api/history", signal);
  }

  view(root) {
    const minutes = slots(this.#found.minutes);
    const width = root.querySelector(".plot")?.clientWidth || SOME_WIDTH;
    const shared = { times: minutes.map((entry) => entry.at), width, picked: this.#picked, pick: this.pick };
    return h("div", { class: "charts" },
      chartsOf(minutes).map((chart) => figure(chart, shared)),
      depth(this.#found.queue_depth));
  }
}

// Sixty minutes, the latest last; those without data are empty.
function slots(entries) {
  const last = entries.length ? Date.parse(entries.at(-1).at) : Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
  const known = new Map(entries.map((one) => [Math.round((last - Date.parse(one.at)) / MINUTE_MS), one]));
  const nothing = { accepted: 0, succeeded: 0, failed: 0, retried: 0, lag_ms: null, duration_ms: null };
  return Array.from({ length: MINUTES }, (_, place) => {
    const age = MINUTES - 1 - place;
    return known.get(age) ?? { ...nothing, at: new Date(last - age * MINUTE_MS).toISOString() };
  });
}

function chartsOf(minutes) {
  const values = (name) => minutes.map((entry) => entry[name]);
  const total = (name) => count(values(name).reduce((sum, value) => sum + value, 0));
  const counted = { kind: "bars", show: count, tick: count };
  return [
    { ...counted, title: "Accepted", whole: `${total("accepted")} in the last hour`, series: [{ name: "accepted", tone: "accent", values: values("accepted") }] },
    { ...counted, title: "Succeeded", whole: `${total("succeeded")} in the last hour`, series: [{ name: "succeeded", tone: "completed", values: values("succeeded") }] },
    {
      ...counted, title: "Failures", whole: `${total("failed")} failed, ${total("retried")} tried again`,
      series: [{ name: "failed", tone: "failed", values: values("failed") }, { name: "tried again", tone: "running", values: values("retried") }],
    },
    percentiles("Wait, from due to started", minutes, "lag_ms"),
    percentiles("Run time", minutes, "duration_ms"),
  ];
}

function percentiles(title, minutes, name) {
  const series = ["p50", "p95", "p99"].map((part) => ({ name: part, tone: part, values: minutes.map((entry) => entry[name]?.[part] ?? null) }));
  const latest = minutes.findLast((entry) => entry[name] !== null)?.[name];
  const whole = latest ? `latest: ${span(latest.p50)} p50, ${span(latest.p95)} p95, ${span(latest.p99)} p99` : "nothing ran in the last hour";
  return { title, kind: "lines", series, whole, show: span, tick: short };
}

const short = (ms) => (ms < 1000 ? `${ms} ms` : `${count(ms / 1000)} s`);

function depth(byPriority) {
  const most = Math.max(1, ...Object.values(byPriority));
  const total = Object.values(byPriority).reduce((sum, value) => sum + value, 0);
  return h("figure", { key: "depth", class: "chart" },
    h("figcaption", {}, h("h3", {}, "Queue by priority"), h("p", {}, total === 0 ? "nothing waits for a worker" : `${plural(total, "job waits", "jobs wait")} for a worker`)),
    h("ol", { class: "depth", "aria-label": "Jobs in the queue by priority" }, PRIORITIES.map((level) => {
      const value = byPriority[level] ?? 0;
      return h("li", { key: level }, h("span", { class: "level" }, h("span", { class: "unseen" }, "priority "), String(level)),
        h("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
          h("rect", { class: "track", width: 100, height: 8 }), h("rect", { class: "accent", width: (100 * value) / most, height: 8 })),
        h("span", { class: "amount" }, count(value)));
    })));
}

// The form for a new or an existing schedule, with its next fires while one types.

import { get, isAbort, post, put, Refused } from "./api.js";
import { h, render } from "./dom.js";
import { area, field, input, remains, select } from "./forms.js";
import { say } from "./notice.js";
import { address, addressOf } from "./route.js";
import { bodyOf, CATCH_UP, NAMES, OVERLAP, rest } from "./schedule-body.js";
import { offered, tasks } from "./tasks.js";
import { fires, MINE, zones } from "./zones.js";

const PAUSE_MS = 250;

export function scheduleForm(root, { given }) {
  const name = given.get("name");
  const page = { before: null, known: [], fault: null, next: null, zone: MINE };
  const draw = () => render(root,
    h("h1", { tabindex: -1 }, name === null ? "New schedule" : `Edit ${name}`),
    page.isRead && h("div", { class: "aside-by" }, form(page, name, { preview, save }),
      h("section", { "aria-label": "Next fires", "aria-live": "polite" }, h("h2", {}, "Next fires"),
        page.next === null ? h("p", { class: "soft" }, "Shown as soon as it can fire.") : fires(page.next, page.zone))),
    offered(page.known.map((task) => task.task)),
    h("datalist", { id: "zones" }, zones().map((zone) => h("option", { key: zone, value: zone }))));
  const preview = previewer(page, draw);
  const save = (event) => send(event, page, draw);
  draw();
  return {
    title: name === null ? "New schedule" : `Edit ${name}`,
    isOnce: true, // what is typed is not to be overwritten
    async look(signal) {
      [page.known, page.before] = await Promise.all([tasks(signal), name === null ? null : get(`/api/schedules/${encodeURIComponent(name)}`, signal)]);
      Object.assign(page, { isRead: true, next: page.before?.next_fires ?? null, zone: page.before?.time_zone ?? "UTC" });
      draw();
    },
  };
}

function form({ before, known, fault }, name, { preview, save }) {
  const job = before?.job ?? { task: "echo", payload: null };
  const row = (title, key, control) => field(title, key, fault, control);
  return h("form", { class: "submit", novalidate: true, oninput: preview, onsubmit: save },
    row("Name", "name", input({ value: name ?? "", readonly: name !== null })),
    h("div", { class: "row" },
      row("Cron, five fields", "cron", input({ value: before?.cron ?? "", placeholder: "0 2 * * *" })),
      row("or every … seconds", "every_s", input({ value: before?.every_s ?? "", inputmode: "decimal" })),
      row("Time zone", "time_zone", input({ value: before?.time_zone ?? "UTC", list: "zones" }))),
    row("Task", "task", input({ value: job.task, list: "tasks" })),
    row("Payload, any JSON", "payload", area(JSON.stringify(job.payload, null, 2))),
    h("div", { class: "row" },
      row("While the one before still runs", "overlap", select(Object.keys(OVERLAP), before?.overlap ?? "skip", OVERLAP)),
      row("After a downtime", "catch_up", select(Object.keys(CATCH_UP), before?.catch_up ?? "latest", CATCH_UP))),
    row("More of the job, as JSON: queue, priority, tags, limit, unique, …", "job", area(JSON.stringify(rest.ofJob(job, known), null, 2), 3)),
    row("More of the schedule, as JSON: jitter_s, starts_at, ends_at, dst_gap, …", "more", area(JSON.stringify(rest.ofSchedule(before), null, 2), 3)),
    remains(fault, NAMES),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "strong" }, "Save the schedule"),
      h("a", { class: "button quiet", href: name === null ? address("schedules") : addressOf("schedules", name) }, "Cancel")));
}

// Asks when it would fire, a moment after the last key; an answer that came too late is dropped.
function previewer(page, draw) {
  let timer = null;
  let asked = null;
  const look = async (given) => {
    asked?.abort();
    asked = new AbortController();
    try {
      if (!given.get("cron") && !given.get("every_s")) return Object.assign(page, { next: null, fault: null });
      const { text, zone } = bodyOf(given);
      Object.assign(page, { next: (await post("/api/schedules/preview", text, asked.signal)).next_fires, zone, fault: null });
    } catch (fault) {
      if (isAbort(fault)) return;
      Object.assign(page, { next: null, fault: fault instanceof Refused ? fault : { field: null, message: fault.message } });
    } finally {
      draw();
    }
  };
  return (event) => {
    clearTimeout(timer);
    const form = event.currentTarget;
    timer = setTimeout(() => form.isConnected && look(new FormData(form)), PAUSE_MS);
  };
}

async function send(event, page, draw) {
  event.preventDefault();
  const form = event.target;
  try {
    const given = new FormData(form);
    const { name, text } = bodyOf(given, { isNamed: true });
    await put(`/api/schedules/${encodeURIComponent(name)}`, text);
    say(`${name} is saved.`);
    location.hash = addressOf("schedules", name);
  } catch (fault) {
    page.fault = fault instanceof Refused ? fault : { field: null, message: `It is not known whether it was saved: ${fault.message}.` };
    draw();
    form.querySelector("[aria-invalid=true]")?.focus();
  }
}

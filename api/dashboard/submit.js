// The form for a new job. The payload is sent as it was typed, so that no number loses digits.

import { get, post, Refused } from "./api.js";
import { argumentField, argumentNames, argumentsOf, payloadOf } from "./arguments.js";
import { h, render } from "./dom.js";
import { say } from "./notice.js";
import { restOf } from "./resubmission.js";
import { address } from "./route.js";
import { offered, tasks } from "./tasks.js";
import { jobLink } from "./why.js";

const FIELDS = ["task", "payload", "queue", "priority", "delay_s"];

// `from`: the id of a job to edit and submit anew.
export function submit(root, { given }) {
  const from = given.get("from");
  let fault = null;
  let known = [];
  let chosen = "echo";
  let like = null;
  const rows = () => argumentsOf(known.find((task) => task.task === chosen)?.parameters);
  const choose = (event) => {
    chosen = event.target.value.trim();
    draw();
  };
  const draw = () => render(root, h("h1", { tabindex: -1 }, "Submit a job"),
    like && h("p", { class: "soft" }, "As a new job, like ", jobLink(like.job_id), restWords(like)),
    (from === null || like !== null) && form(like === null ? rows() : null, choose, fault, showFault, like), offered(known.map((task) => task.task)));
  const showFault = (news) => {
    fault = news;
    draw();
  };
  draw();
  return {
    title: "Submit",
    isOnce: true,
    async look(signal) {
      [known, like] = await Promise.all([tasks(signal), from === null ? null : get(`/api/jobs/${encodeURIComponent(from)}`, signal)]);
      draw();
    },
  };
}

function restWords(like) {
  const names = Object.keys(restOf(like)).map((name) => name.replace(/_s$/, "").replaceAll("_", " "));
  return names.length > 0 ? `, with its ${names.join(", ")}.` : ".";
}

// `rows`: the parameters of the chosen task; null where it takes its payload whole. `like`: the job to edit, or null.
function form(rows, choose, fault, showFault, like) {
  const fields = [...FIELDS, ...argumentNames(rows ?? [])];
  return h("form", { class: "submit", novalidate: true, onsubmit: (event) => send(event, rows, showFault, like) },
    field("Task", "task", fault, (more) => h("input", { name: "task", value: like?.task ?? "echo", list: "tasks", autocomplete: "off", spellcheck: "false", required: true, oninput: choose, ...more })),
    rows === null
      ? field("Payload, any JSON", "payload", fault, (more) => h("textarea", { name: "payload", rows: 8, value: like === null ? '{"hello": "world"}' : JSON.stringify(like.payload, null, 2), spellcheck: "false", ...more }))
      : rows.map((row) => argumentField(row, (title, name, control) => field(title, name, fault, control))),
    h("div", { class: "row" },
      field("Queue", "queue", fault, (more) => h("input", { name: "queue", value: like?.queue ?? "", placeholder: "the task's own, or default", autocomplete: "off", ...more })),
      field("Priority", "priority", fault, (more) => h("select", { name: "priority", ...more }, priorities(like?.priority ?? ""))),
      field("Delay in seconds", "delay_s", fault, (more) => h("input", { name: "delay_s", value: "0", inputmode: "decimal", ...more }))),
    h("p", { class: "fault", role: "alert" }, fault !== null && !fields.includes(fault.field) ? fault.message : null),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "strong" }, "Submit the job")));
}

function field(title, name, fault, control) {
  const isWrong = fault?.field === name;
  return h("div", { class: "field", key: name },
    h("label", { for: `field-${name}` }, title),
    control({ id: `field-${name}`, "aria-invalid": isWrong ? "true" : null, "aria-describedby": `fault-${name}` }),
    h("p", { class: "fault", id: `fault-${name}`, role: "alert" }, isWrong ? fault.message : null));
}

function priorities(chosen) {
  const names = { "": "the task's own, or 5", 9: "9, high", 5: "5, normal", 1: "1, low" };
  return ["", 9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((level) => h("option", { value: level, selected: level === chosen }, names[level] ?? String(level)));
}

async function send(event, rows, showFault, like) {
  event.preventDefault();
  const given = new FormData(event.target);
  try {
    const { job_id: id } = await post("/api/jobs", bodyOf(given, rows, like));
    say("The job is accepted.");
    location.hash = address(`jobs/${id}`);
  } catch (fault) {
    showFault(fault instanceof Refused ? fault : { field: null, message: `It is not known whether the job was accepted: ${fault.message}.` });
    event.target.querySelector("[aria-invalid=true]")?.focus();
  }
}

function bodyOf(given, rows, like) {
  const payload = rows === null ? String(given.get("payload")).trim() || "null" : payloadOf(rows, given, check);
  const number = String(given.get("delay_s")).trim();
  check("payload", () => JSON.parse(payload), "this is no JSON");
  const delay = number === "" ? "0" : number;
  check("delay_s", () => JSON.parse(delay), "the delay must be a number of seconds");
  const rest = { ...(like === null ? {} : restOf(like)), task: String(given.get("task")).trim() };
  const queue = String(given.get("queue")).trim();
  if (queue !== "") rest.queue = queue;
  if (given.get("priority") !== "") rest.priority = Number(given.get("priority"));
  return `${JSON.stringify(rest).slice(0, -1)},"delay_s":${delay},"payload":${payload}}`;
}

function check(name, read, words) {
  try {
    read();
  } catch (fault) {
    throw new Refused(400, { code: "invalid_field", field: name, message: `${words}: ${fault.message}` });
  }
}

// The form for a new job. The payload is sent as it was typed, so that no number loses digits.

import { post, Refused } from "./api.js";
import { h, render } from "./dom.js";
import { say } from "./notice.js";
import { address } from "./route.js";
import { offered, taskNames } from "./tasks.js";

const FIELDS = ["task", "payload", "queue", "priority", "delay_s"];

export function submit(root) {
  let fault = null;
  let names = [];
  const draw = () => render(root, h("h1", { tabindex: -1 }, "Submit a job"), form(fault, showFault), offered(names));
  const showFault = (news) => {
    fault = news;
    draw();
  };
  draw();
  return {
    title: "Submit",
    async look(signal) {
      names = await taskNames(signal); // if this fails, so would the submission
      draw();
    },
  };
}

function form(fault, showFault) {
  return h("form", { class: "submit", novalidate: true, onsubmit: (event) => send(event, showFault) },
    field("Task", "task", fault, (more) => h("input", { name: "task", value: "echo", list: "tasks", autocomplete: "off", spellcheck: "false", required: true, ...more })),
    field("Payload, any JSON", "payload", fault, (more) => h("textarea", { name: "payload", rows: 8, value: '{"hello": "world"}', spellcheck: "false", ...more })),
    h("div", { class: "row" },
      field("Queue", "queue", fault, (more) => h("input", { name: "queue", value: "default", autocomplete: "off", ...more })),
      field("Priority", "priority", fault, (more) => h("select", { name: "priority", ...more }, priorities())),
      field("Delay in seconds", "delay_s", fault, (more) => h("input", { name: "delay_s", value: "0", inputmode: "decimal", ...more }))),
    h("p", { class: "fault", role: "alert" }, fault !== null && !FIELDS.includes(fault.field) ? fault.message : null),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "strong" }, "Submit the job")));
}

function field(title, name, fault, control) {
  const isWrong = fault?.field === name;
  return h("div", { class: "field", key: name },
    h("label", { for: `field-${name}` }, title),
    control({ id: `field-${name}`, "aria-invalid": isWrong ? "true" : null, "aria-describedby": `fault-${name}` }),
    h("p", { class: "fault", id: `fault-${name}`, role: "alert" }, isWrong ? fault.message : null));
}

function priorities() {
  const names = { 9: "9, high", 5: "5, normal", 1: "1, low" };
  return [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((level) => h("option", { value: level, selected: level === 5 }, names[level] ?? String(level)));
}

async function send(event, showFault) {
  event.preventDefault();
  const given = new FormData(event.target);
  try {
    const { job_id: id } = await post("/api/jobs", bodyOf(given));
    say("The job is accepted.");
    location.hash = address(`jobs/${id}`);
  } catch (fault) {
    showFault(fault instanceof Refused ? fault : { field: null, message: `It is not known whether the job was accepted: ${fault.message}.` });
    event.target.querySelector("[aria-invalid=true]")?.focus();
  }
}

function bodyOf(given) {
  const payload = String(given.get("payload")).trim() || "null";
  const number = String(given.get("delay_s")).trim();
  check("payload", () => JSON.parse(payload), "this is no JSON");
  const delay = number === "" ? "0" : number;
  check("delay_s", () => JSON.parse(delay), "the delay must be a number of seconds");
  const rest = { task: String(given.get("task")).trim(), queue: String(given.get("queue")).trim(), priority: Number(given.get("priority")) };
  return `${JSON.stringify(rest).slice(0, -1)},"delay_s":${delay},"payload":${payload}}`;
}

function check(name, read, words) {
  try {
    read();
  } catch (fault) {
    throw new Refused(400, { code: "invalid_field", field: name, message: `${words}: ${fault.message}` });
  }
}

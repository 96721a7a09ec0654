// The form for the numbers of a limit, new or existing.

import { put, Refused } from "./api.js";
import { h } from "./dom.js";
import { field, input, numberOf, remains, select, textOf } from "./forms.js";
import { say } from "./notice.js";
import { addressOf } from "./route.js";

const ON_FULL = { wait: "wait: it waits its turn", cancel: "cancel: the new one is cancelled", replace: "replace: the oldest running one is cancelled" };
const NUMBERS = ["max_running", "count", "per_s", "burst"];

export function limitForm(limit, fault, showFault, live) {
  const number = (title, name) => field(title, name, fault, input({ value: limit?.[name] ?? "", inputmode: "decimal", placeholder: "none" }));
  return h("form", { class: "submit", novalidate: true, onsubmit: (event) => save(event, limit, showFault, live) },
    limit === null && field("Name: one's own, queue:NAME, task:NAME or *", "name", fault, input({ placeholder: "queue:mail" })),
    h("div", { class: "row" },
      number("At most running", "max_running"), number("At most begun", "count"), number("in seconds", "per_s"), number("At once", "burst")),
    field("When it is full", "on_full", fault, select(Object.keys(ON_FULL), limit?.on_full ?? "wait", ON_FULL)),
    remains(fault, ["name", "on_full", ...NUMBERS]),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: limit === null ? "strong" : "" }, "Save the limit")));
}

async function save(event, limit, showFault, live) {
  event.preventDefault();
  const form = event.target;
  const given = new FormData(form);
  const name = limit?.name ?? textOf(given, "name");
  const body = { on_full: given.get("on_full") };
  for (const number of NUMBERS) if (numberOf(given, number) !== null) body[number] = numberOf(given, number);
  try {
    if (name === "") throw new Refused(400, { field: "name", message: "a limit needs a name" });
    await put(`/api/limits/${encodeURIComponent(name)}`, JSON.stringify(body));
    showFault(null);
    say(`${name} is saved; the numbers hold from the next begin.`);
    location.hash = addressOf("limits", name);
    await live.now();
  } catch (fault) {
    showFault(fault instanceof Refused ? fault : { field: null, message: `It is not known whether it was saved: ${fault.message}.` });
    form.querySelector("[aria-invalid=true]")?.focus();
  }
}

// A hook's page: where it delivers, its newest deliveries and how they went, and its actions.

import { ask, get, post } from "./api.js";
import { act, button } from "./buttons.js";
import { closeDialog, confirm, openDialog } from "./dialog.js";
import { h, render } from "./dom.js";
import { filterWords, hookState, target } from "./hooks.js";
import { address, addressOf } from "./route.js";
import { badge } from "./status.js";
import { row, table } from "./table.js";
import { when } from "./zones.js";

const COLUMNS = [["Delivery", "name"], ["Status", ""], ["Event", ""], ["Of the job", ""], ["Tries", "number"], ["Next try", ""], ["Error", "wide"]];
const MOST = 200; // of all hooks' newest deliveries; those of this hook are shown
const HOUR_MS = 3_600_000;

export function hook(root, { id }, { live }) {
  return {
    title: `Hook ${id}`,
    async look(signal) {
      const one = await get(`/api/hooks/${encodeURIComponent(id)}`, signal);
      const query = new URLSearchParams({ task: one.job === null ? "webhook" : one.job.task ?? "echo", limit: MOST });
      const made = await get(`/jobs?${query}`, signal);
      render(root, page(one, made.filter((job) => isOf(one, job)), live));
    },
  };
}

// A delivery names its hook; a job that a hook makes is under the hook's limit.
const isOf = (one, job) => job.payload?.hook === one.name || (job.limit ?? []).includes(`hook:${one.name}`);

function page(one, deliveries, live) {
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", { tabindex: -1 }, one.name), h("p", { class: "id" }, target(one))), hookState(one), verbs(one, live)),
    h("dl", { class: "facts" }, facts(one).map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value)))),
    h("section", { key: "deliveries", "aria-label": "Deliveries" }, h("h2", {}, "Deliveries"),
      deliveries.length === 0 ? h("p", { class: "none" }, `None among the newest ${MOST} deliveries.`)
        : table("Deliveries, newest first", COLUMNS, deliveries.map(delivery))),
  ];
}

function facts(one) {
  return [["Events", one.events.join(", ")], ["Only", filterWords(one) || "all jobs"], ["Includes", one.include.join(", ") || "neither payload nor result"],
    ["Limit", h("a", { href: addressOf("limits", `hook:${one.name}`) }, `hook:${one.name}`)]];
}

function delivery(job) {
  const event = job.payload?.event;
  const about = event?.data?.job_id;
  return row(job.job_id, COLUMNS, [
    h("a", { href: address(`jobs/${job.job_id}`) }, h("b", {}, when(job.created_at)), h("span", { class: "id" }, job.job_id)), badge(job.status),
    event?.type ?? "", about ? h("a", { class: "id", href: address(`jobs/${about}`) }, `…${about.slice(-8)}`) : "", String(job.attempt),
    job.status === "pending" ? when(job.scheduled_at) : "", h("span", { class: "line bad" }, job.error ?? ""),
  ]);
}

function verbs(one, live) {
  const path = `/api/hooks/${encodeURIComponent(one.name)}`;
  const replay = () => {
    const to = new Date();
    return act(() => post(`${path}/replay`, JSON.stringify({ from: new Date(to - HOUR_MS).toISOString(), to: to.toISOString() })),
      "The events of the last hour are delivered again.", live);
  };
  return h("div", { class: "buttons" },
    button("Test", () => act(() => post(`${path}/test`), "A test event is on its way.", live)), button("Replay the last hour", replay),
    button("New secret", () => rotate(one, path, live)), button("Delete", () => remove(one, path, live)));
}

async function rotate(one, path, live) {
  if (!(await confirm(`Make a new secret for ${one.name}?`, "The old one signs along for 24 hours.", "Make a new secret"))) return;
  const after = await act(() => post(`${path}/rotate`), "There is a new secret.", live);
  if (after === null) return;
  await openDialog("The new secret", h("p", {}, "It is shown only now:"), h("pre", { id: "secret", tabindex: 0 }, after.secret),
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => closeDialog() }, "Close")));
}

async function remove(one, path, live) {
  if (!(await confirm(`Delete ${one.name}?`, "Its deliveries that have not succeeded end cancelled.", "Delete the hook"))) return;
  await act(async () => {
    await ask("DELETE", path);
    location.hash = address("hooks");
  }, `${one.name} is deleted.`, live);
}

// A schedule's page: its next fires, its last one, what it missed and why, the job that it makes, and its actions.

import { ask, get } from "./api.js";
import { act, button } from "./buttons.js";
import { confirm } from "./dialog.js";
import { h, render } from "./dom.js";
import { count, span } from "./format.js";
import { mayChange } from "./rights.js";
import { address } from "./route.js";
import { lastFire, missed, pausedWords, rule, state, verbs } from "./schedules.js";
import { fires, when } from "./zones.js";

export function schedule(root, { id }, { live }) {
  return {
    title: `Schedule ${id}`,
    async look(signal) {
      render(root, page(await get(`/api/schedules/${encodeURIComponent(id)}`, signal), live));
    },
  };
}

function page(one, live) {
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", { tabindex: -1 }, one.name), h("p", { class: "id" }, rule(one))), state(one),
      h("div", { class: "buttons" }, verbs(one, live),
        mayChange() && h("a", { class: "button", href: address("schedule-form", { name: one.name }) }, "Edit"),
        button("Delete", () => remove(one, live)))),
    one.paused && h("p", { class: "reasons" }, `It is ${pausedWords(one.paused)}. Fires of a pause are not made up for.`),
    facts(one),
    section("Next fires", fires(one.next_fires, one.time_zone)),
    section("The job that it makes", h("pre", { tabindex: 0 }, JSON.stringify(one.job, null, 2))),
  ];
}

function facts(one) {
  const rows = [
    ["Last fire", lastFire(one)], ["Fires", h("a", { href: address("jobs", { schedule: one.name }) }, count(one.fires))], ["Missed", missed(one)],
    ["Last missed", one.last_missed_at && when(one.last_missed_at)], ["Time zone", one.time_zone], ["Overlap", one.overlap],
    ["Catch-up", one.catch_up], ["Jitter", one.jitter_s ? span(1000 * one.jitter_s) : null], ["Starts", one.starts_at && when(one.starts_at)],
    ["Ends", one.ends_at && when(one.ends_at)], ["Made by", one.origin],
  ];
  return h("dl", { class: "facts" },
    rows.filter(([, value]) => value !== null).map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value))));
}

async function remove(one, live) {
  const words = one.origin === "code" ? "Its jobs stay. Code declares it: the next start makes it again; a pause keeps it off." : "Its jobs stay.";
  if (!(await confirm(`Delete ${one.name}?`, words, "Delete the schedule"))) return;
  const path = `/api/schedules/${encodeURIComponent(one.name)}`;
  await act(async () => {
    await ask("DELETE", path);
    location.hash = address("schedules");
  }, `${one.name} is deleted.`, live);
}

const section = (title, content) => h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);

// The list of schedules: when each fires next, in its own zone, its last fire with the job, what it missed.

import { get, post } from "./api.js";
import { act, button } from "./buttons.js";
import { h, render } from "./dom.js";
import { count, plural } from "./format.js";
import { askPause } from "./pausing.js";
import { mayChange } from "./rights.js";
import { address, addressOf } from "./route.js";
import { badge } from "./status.js";
import { row, table } from "./table.js";
import { inZone, MINE, when } from "./zones.js";

const COLUMNS = [["Schedule", "name"], ["State", ""], ["Next fire", ""], ["Last fire", ""], ["Fires", "number"], ["Missed", ""], ["Actions", "wide"]];

export function schedules(root, _, { live }) {
  return {
    title: "Schedules",
    async look(signal) {
      const found = await get("/api/schedules", signal);
      render(root,
        h("div", { class: "head" },
          h("h1", { tabindex: -1 }, "Schedules"), h("p", { class: "soft" }, plural(found.length, "schedule")),
          h("div", { class: "buttons" }, mayChange() && h("a", { class: "button strong", href: address("schedule-form") }, "New schedule"))),
        found.length === 0 ? h("p", { class: "none" }, "No job is made on a schedule.")
          : table("Schedules, by name", COLUMNS, found.map((one) => scheduleRow(one, live))));
    },
  };
}

function scheduleRow(one, live) {
  return row(one.name, COLUMNS, [
    h("a", { href: addressOf("schedules", one.name) }, h("b", {}, one.name), h("span", { class: "soft" }, rule(one))),
    state(one), nextFire(one), lastFire(one), count(one.fires), h("span", {}, missed(one)), verbs(one, live),
  ]);
}

export const rule = (one) => (one.cron === null ? `every ${one.every_s} s` : `${one.cron} · ${one.time_zone}`);

export function state(one) {
  if (one.paused === null) return one.next_fire_at === null ? badge("cancelled", "over") : badge("completed", "active");
  return h("span", { title: pausedWords(one.paused) }, badge("pending", "paused"));
}

export const pausedWords = ({ by, since, reason, until }) =>
  `paused by ${by} since ${inZone(since, MINE)}${until ? `, until ${inZone(until, MINE)}` : ""}${reason ? `: ${reason}` : ""}`;

function nextFire(one) {
  if (one.next_fire_at === null) return "never";
  return h("span", { class: "pair" }, when(one.next_fire_at), h("span", { class: "soft" }, inZone(one.next_fire_at, one.time_zone)));
}

export function lastFire(one) {
  if (one.last_fire_at === null) return "none yet";
  return one.last_job_id === null ? when(one.last_fire_at) : h("a", { href: address(`jobs/${one.last_job_id}`) }, when(one.last_fire_at));
}

const REASONS = { paused: "while paused", catch_up: "after a downtime", overlap: "the one before still ran", unique: "its key was held" };

export function missed(one) {
  const found = Object.entries(one.missed).filter(([, misses]) => misses > 0);
  if (found.length === 0) return "none";
  return (one.missed_is_exact ? "" : "at least ") + found.map(([reason, misses]) => `${count(misses)} ${REASONS[reason] ?? reason}`).join(", ");
}

export function verbs(one, live) {
  const path = `/api/schedules/${encodeURIComponent(one.name)}`;
  const pause = async () => {
    const body = await askPause(`Pause ${one.name}?`, { hasEnd: false });
    if (body !== null) await act(() => post(`${path}/pause`, JSON.stringify(body)), `${one.name} is paused.`, live);
  };
  return h("div", { class: "buttons small" },
    button("Run now", () => act(() => post(`${path}/run`), `${one.name}: its job is made.`, live), { name: one.name }),
    one.paused === null ? button("Pause", pause, { name: one.name })
      : button("Resume", () => act(() => post(`${path}/resume`), `${one.name} fires again.`, live), { name: one.name }));
}

// The list of limits: their numbers, who runs and who waits, pauses; and the form for a new one.

import { get, post } from "./api.js";
import { act, button } from "./buttons.js";
import { h, render } from "./dom.js";
import { count, plural } from "./format.js";
import { limitForm } from "./limit-form.js";
import { askPause } from "./pausing.js";
import { mayChange } from "./rights.js";
import { addressOf } from "./route.js";
import { pausedWords } from "./schedules.js";
import { badge } from "./status.js";
import { row, table } from "./table.js";
import { inZone, MINE, when } from "./zones.js";

const COLUMNS = [["Limit", "name"], ["State", ""], ["Running", "number"], ["Waiting", "number"], ["Next begin", ""], ["Actions", ""]];

export function limits(root, _, { live }) {
  let fault = null;
  let found = [];
  const draw = () => render(root,
    h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Limits"), h("p", { class: "soft" }, plural(found.length, "limit"))),
    found.length === 0 ? h("p", { class: "none" }, "Nothing is limited or paused.")
      : table("Limits, by name", COLUMNS, found.map((one) => limitRow(one, live))),
    mayChange() && h("section", { "aria-label": "New limit" }, h("h2", {}, "New limit"), limitForm(null, fault, showFault, live)));
  const showFault = (news) => {
    fault = news;
    draw();
  };
  return {
    title: "Limits",
    async look(signal) {
      found = await get("/api/limits", signal);
      draw();
    },
  };
}

function limitRow(one, live) {
  return row(one.name, COLUMNS, [
    h("a", { href: addressOf("limits", one.name) }, h("b", {}, one.name), h("span", { class: "soft" }, numbers(one))),
    limitState(one), running(one), waiting(one.waiting), one.next_at === null ? "" : when(one.next_at), limitVerbs(one, live),
  ]);
}

export function numbers(one) {
  const most = one.max_running === null ? null : `at most ${count(one.max_running)} running`;
  const rate = one.count === null ? null : `${count(one.count)} begin in ${one.per_s} s`;
  return [most, rate].filter(Boolean).join(", ") || "any number";
}

const running = (one) => (one.max_running === null ? count(one.running) : `${count(one.running)} of ${count(one.max_running)}`);
export const waiting = (found) => `${found.is_exact ? "" : "at least "}${count(found.count)}`;

// A pause or a hold whose time is over is shown until the service has removed it; it stands against nothing.
export function limitState(one) {
  const isOver = (time) => time !== null && new Date(time) <= new Date();
  if (one.paused !== null && !isOver(one.paused.until)) return h("span", { title: pausedWords(one.paused) }, badge("pending", "paused"));
  if (one.hold_until !== null && !isOver(one.hold_until)) return badge("pending", `held until ${inZone(one.hold_until, MINE)}`);
  return badge("completed", "open");
}

export function limitVerbs(one, live) {
  const path = `/api/limits/${encodeURIComponent(one.name)}`;
  const pause = async () => {
    const body = await askPause(`Pause ${one.name}?`, { hasEnd: true });
    if (body !== null) await act(() => post(`${path}/pause`, JSON.stringify(body)), `${one.name} is paused.`, live);
  };
  return h("div", { class: "buttons small" },
    one.paused === null ? button("Pause", pause, { name: one.name })
      : button("Resume", () => act(() => post(`${path}/resume`), `${one.name} is open again.`, live), { name: one.name }));
}

// The list of hooks: where each delivers what, and whether that works.

import { get } from "./api.js";
import { h, render } from "./dom.js";
import { plural } from "./format.js";
import { addressOf } from "./route.js";
import { badge } from "./status.js";
import { row, table } from "./table.js";

const COLUMNS = [["Hook", "name"], ["State", ""], ["Events", "words"], ["Only", "words"]];

export function hooks(root) {
  return {
    title: "Hooks",
    async look(signal) {
      const found = await get("/api/hooks", signal);
      render(root,
        h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Hooks"), h("p", { class: "soft" }, plural(found.length, "hook"))),
        found.length === 0 ? h("p", { class: "none" }, "Nobody is told of events.") : table("Hooks, by name", COLUMNS, found.map(hookRow)));
    },
  };
}

function hookRow(one) {
  return row(one.name, COLUMNS, [
    h("a", { href: addressOf("hooks", one.name) }, h("b", {}, one.name), h("span", { class: "soft" }, target(one))), hookState(one),
    one.events.join(", "), filterWords(one),
  ]);
}

export const target = (one) => one.url ?? `a job of the task ${one.job?.task ?? "echo"}`;
export const filterWords = (one) => Object.entries(one.filter ?? {}).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value}`).join(", ");
export const hookState = (one) => (one.disabled === null ? badge("completed", "enabled") : badge("failed", `disabled: ${one.disabled.reason}`));

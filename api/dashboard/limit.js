// A limit's page: its numbers, who runs and who waits in each of its fullest partitions, and its actions.

import { ask, get } from "./api.js";
import { act, button } from "./buttons.js";
import { confirm } from "./dialog.js";
import { h, render } from "./dom.js";
import { count } from "./format.js";
import { limitForm } from "./limit-form.js";
import { limitState, limitVerbs, numbers, waiting } from "./limits.js";
import { mayChange } from "./rights.js";
import { address } from "./route.js";
import { pausedWords } from "./schedules.js";
import { row, table } from "./table.js";
import { when } from "./zones.js";

const COLUMNS = [["Partition", "name"], ["Running", "number"], ["Waiting", "number"], ["Next begin", ""]];

export function limit(root, { id }, { live }) {
  let fault = null;
  let one = null;
  const draw = () => render(root, page(one, fault, showFault, live));
  const showFault = (news) => {
    fault = news;
    draw();
  };
  return {
    title: `Limit ${id}`,
    async look(signal) {
      one = await get(`/api/limits/${encodeURIComponent(id)}`, signal);
      draw();
    },
  };
}

function page(one, fault, showFault, live) {
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", { tabindex: -1 }, one.name), h("p", { class: "soft" }, numbers(one))), limitState(one),
      h("div", { class: "buttons" }, limitVerbs(one, live), !one.name.startsWith("hook:") && button("Delete", () => remove(one, live)))),
    one.paused && h("p", { class: "reasons" }, `It is ${pausedWords(one.paused)}. Jobs that run go on.`),
    facts(one),
    section("Fullest partitions", one.partitions.length === 0 ? h("p", { class: "none" }, "Nothing of it runs or waits.")
      : table("Partitions, the fullest first", COLUMNS, one.partitions.map(partitionRow))),
    mayChange() && section("Numbers", limitForm(one, fault, showFault, live)),
  ];
}

function facts(one) {
  const rows = [["Running", count(one.running)], ["Waiting", waiting(one.waiting)], ["Next begin", one.next_at && when(one.next_at)],
    ["When it is full", one.on_full], ["Burst", one.burst && count(one.burst)], ["Made by", one.origin]];
  return h("dl", { class: "facts" },
    rows.filter(([, value]) => value !== null).map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value))));
}

function partitionRow(part) {
  return row(String(part.partition), COLUMNS,
    [part.partition ?? "the whole limit", count(part.running), waiting(part.waiting), part.next_at === null ? "" : when(part.next_at)]);
}

async function remove(one, live) {
  if (!(await confirm(`Delete ${one.name}?`, "What waits for it may begin at once; a pause of it ends.", "Delete the limit"))) return;
  await act(async () => {
    await ask("DELETE", `/api/limits/${encodeURIComponent(one.name)}`);
    location.hash = address("limits");
  }, `${one.name} is deleted.`, live);
}

const section = (title, content) => h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);

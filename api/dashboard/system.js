// The processes of this host from the roster, the age of these data, and the commands that operators give on the host.

import { get } from "./api.js";
import { h, render } from "./dom.js";
import { age } from "./format.js";
import { processTable } from "./processes.js";

const COMMANDS = [
  ["restart NAME", "restarts one component once it has finished its work; starts a drained one"],
  ["drain NAME", "stops one component once it has finished its work, until restart"],
  ["log-level LEVEL", "changes the log level of all running processes"],
  ["reload", "imports the task modules again; new jobs use the new code"],
  ["doctor", "finds out what is wrong, and says what to do about it"],
];

export function system(root) {
  return {
    title: "System",
    async look(signal) {
      const stats = await get("/stats", signal);
      const { age_s } = stats; // only of stale data
      render(root, h("h1", { tabindex: -1 }, "System"),
        age_s !== undefined && h("p", { class: "fault", role: "alert" }, `These data are ${age(age_s)} old: control does not answer.`),
        section("Processes", processTable(stats)),
        section("Commands", h("p", { class: "soft" }, "Only the user who runs Jobyard on this host can give them, on its command line."),
          h("dl", { class: "facts commands" }, COMMANDS.map(([words, meaning]) =>
            h("div", { key: words }, h("dt", {}, h("code", {}, `bin/jobyard ${words}`)), h("dd", {}, meaning))))));
    },
  };
}

const section = (title, ...content) => h("section", { key: title, "aria-label": title }, h("h2", {}, title), content);

// The registered tasks; their names are offered as suggestions in task fields.

import { get } from "./api.js";
import { h } from "./dom.js";

export const tasks = (signal) => get("/api/tasks", signal);

export async function taskNames(signal) {
  return (await tasks(signal)).map((row) => row.task);
}

export const offered = (names) => h("datalist", { id: "tasks" }, names.map((name) => h("option", { key: name, value: name })));

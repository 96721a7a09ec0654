// The names of the registered tasks, offered as suggestions in task fields.

import { get } from "./api.js";
import { h } from "./dom.js";

export async function taskNames(signal) {
  return (await get("/api/tasks", signal)).map((row) => row.task);
}

export const offered = (names) => h("datalist", { id: "tasks" }, names.map((name) => h("option", { key: name, value: name })));

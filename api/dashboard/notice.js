// What happened, said once: to be seen at the foot of the page and heard from a screen reader.

import { byId } from "./dom.js";

const SHOWN_MS = 6000;
let timer = null;

export function say(words) {
  const told = byId("told");
  clearTimeout(timer);
  told.textContent = words;
  timer = setTimeout(() => (told.textContent = ""), SHOWN_MS);
}

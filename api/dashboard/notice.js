// A short notice at the bottom of the page, which screen readers announce.

import { byId } from "./dom.js";

const SHOWN_MS = 6000;
let timer = null;

export function say(words) {
  const told = byId("told");
  clearTimeout(timer);
  told.textContent = words;
  timer = setTimeout(() => (told.textContent = ""), SHOWN_MS);
}

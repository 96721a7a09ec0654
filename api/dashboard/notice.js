// A short notice at the bottom of the page, which screen readers announce.

import { byId } from "./dom.js";

const SHOWN_MS = 6000;
let timer = null;

export function say(words) {
  const notice = byId("notice");
  clearTimeout(timer);
  notice.textContent = words;
  timer = setTimeout(() => (notice.textContent = ""), SHOWN_MS);
}

// Buttons that change something: a token that only reads gets none of them. What went wrong is said in the notice.

import { Refused } from "./api.js";
import { h } from "./dom.js";
import { say } from "./notice.js";
import { mayChange } from "./rights.js";

export function button(words, onclick, { kind = "", name } = {}) {
  return mayChange() && h("button", { key: words, type: "button", class: kind, onclick, "aria-label": name && `${words} ${name}` }, words);
}

export const strong = (words, onclick) => button(words, onclick, { kind: "strong" });

// Does it, says how it went, and polls anew. Resolves to what it returned, or to null.
export async function act(change, words, live) {
  let done = null;
  try {
    done = await change();
    say(words);
  } catch (fault) {
    say(fault instanceof Refused ? fault.message : `Nothing is known to have changed: ${fault.message}.`);
  }
  await live.now();
  return done;
}

// Keeps the page up to date by polling: every 2 s, not while the tab is hidden, a few times sooner after an action, less often when
// an answer is expensive for the service (but after at most 30 s), and less and less often while it is unavailable.

import { Away, isAbort } from "./api.js";

const EVERY_MS = 2000;
const SOON_MS = [250, 500, 1000];
const SHARE = 8; // an answer that took t is requested again after 8 t at the earliest
const LONGEST_MS = 30_000;

export class Live {
  #look = null;
  #timer = null;
  #running = null;
  #failures = 0;
  #soon = [];
  #isOnce = false;

  // `onState({state, words, nextAt, seenAt})`: called with live, idle, paused or away.  `refused(error)`: called with the service's error.
  constructor({ onState, refused }) {
    this.onState = onState;
    this.refused = refused;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.now()));
  }

  // Polls this from now on, or until it has succeeded once; it gets an abort signal for when its answer is no longer needed.
  follow(look, { isOnce = false } = {}) {
    this.stop();
    this.#look = look;
    this.#isOnce = isOnce;
    return this.now();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.#look = null;
  }

  // Polls at once instead of at the next interval, after an action or when the tab becomes visible.
  now() {
    this.#soon = [...SOON_MS];
    return this.#poll();
  }

  async #poll() {
    clearTimeout(this.#timer);
    this.#running?.abort();
    if (this.#look === null) return;
    const running = (this.#running = new AbortController());
    const began = performance.now();
    try {
      await this.#look(running.signal);
      if (running.signal.aborted) return;
      this.#failures = 0;
      if (this.#isOnce) this.#look = null;
      this.onState({ state: this.#isOnce ? "idle" : "live", seenAt: Date.now() });
      this.#again(Math.min(LONGEST_MS, Math.max(this.#soon.shift() ?? EVERY_MS, SHARE * (performance.now() - began))));
    } catch (fault) {
      if (running.signal.aborted || isAbort(fault)) return;
      this.#failed(fault);
    }
  }

  #failed(fault) {
    if (!(fault instanceof Away)) return this.refused(fault);
    const pause = Math.min(LONGEST_MS, EVERY_MS * 2 ** Math.min(this.#failures, 8));
    this.#failures += 1;
    this.onState({ state: "away", words: fault.message, nextAt: Date.now() + pause });
    this.#again(pause);
  }

  #again(pause) {
    if (!document.hidden && this.#look !== null) this.#timer = setTimeout(() => this.#poll(), pause);
  }

  #pause() {
    clearTimeout(this.#timer);
    if (this.#look !== null) this.onState({ state: "paused" });
  }
}

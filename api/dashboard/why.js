// The service's reasons why a job does not run yet, the most decisive first.

import { h } from "./dom.js";

const WAITING = ["blocked", "pending", "claimed", "queued"];

export const isWaiting = (job) => WAITING.includes(job.status);

export function why(answer) {
  return h("ol", { class: "reasons" }, answer.reasons.map((reason) => h("li", { key: reason.code }, h("p", {}, reason.message), h("p", { class: "id" }, reason.code))));
}

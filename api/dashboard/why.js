// The service's reasons why a job does not run yet, the most decisive first, with links to what they name.

import { h } from "./dom.js";
import { address, addressOf } from "./route.js";

const WAITING = ["blocked", "pending", "claimed", "queued"];
const MOST_LINKS = 10;

export const isWaiting = (job) => WAITING.includes(job.status);

export function why(answer) {
  return h("ol", { class: "reasons" }, answer.reasons.map((reason) => h("li", { key: reason.code },
    h("p", {}, reason.message), h("p", { class: "links" }, h("span", { class: "id" }, reason.code), links(reason)))));
}

function links(reason) {
  const waits = (reason.waits_for ?? []).map((one) => (one.job_id ? jobLink(one.job_id) : groupLink(one.group)));
  const holders = (reason.job_ids ?? []).map(jobLink);
  return [...waits, ...holders].slice(0, MOST_LINKS).concat(limitLink(reason.limit));
}

export const jobLink = (id) => h("a", { key: id, class: "id", href: address(`jobs/${id}`) }, id);
export const groupLink = (group) => h("a", { key: group, href: address("jobs", { group }) }, `group ${group}`);

// A part is a limit with its partition; `schedule:NAME` is the place of a schedule's overlap, which has no row.
export function limitLink(part) {
  if (part === undefined || part === null) return null;
  const [kind, ...rest] = part.split(":");
  if (kind === "schedule") return h("a", { key: part, href: addressOf("schedules", rest.join(":")) }, part);
  const name = rest.length > 0 ? part : part.split("/")[0]; // a task's name may contain a slash, and has no partitions
  return h("a", { key: part, href: addressOf("limits", name) }, `limit ${part}`);
}

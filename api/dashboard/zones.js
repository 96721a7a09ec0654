// Times in a schedule's zone and in one's own. A zone that the browser does not know is shown in UTC.

import { h } from "./dom.js";
import { ago, moment } from "./format.js";

const PARTS = { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" };
const formats = new Map();

export const MINE = Intl.DateTimeFormat().resolvedOptions().timeZone;
export const zones = () => ["UTC", ...Intl.supportedValuesOf("timeZone")];

export function inZone(time, zone) {
  if (!formats.has(zone)) formats.set(zone, formatOf(zone));
  return formats.get(zone).format(new Date(time));
}

function formatOf(timeZone) {
  try {
    return new Intl.DateTimeFormat("en-GB", { ...PARTS, timeZone });
  } catch {
    return new Intl.DateTimeFormat("en-GB", { ...PARTS, timeZone: "UTC" });
  }
}

// Fire times, one a line: in the schedule's zone, in one's own where that differs, and how long it is until then.
export function fires(times, zone) {
  if (times.length === 0) return h("p", { class: "soft" }, "It does not fire any more.");
  return h("ol", { class: "fires" }, times.map((time) => h("li", { key: time },
    h("time", { datetime: time }, inZone(time, zone)),
    zone === MINE ? null : h("span", { class: "soft" }, inZone(time, MINE)),
    h("span", { class: "soft" }, ago(time)))));
}

export const when = (time) => (time === null ? "" : h("time", { datetime: time, title: moment(time) }, ago(time)));

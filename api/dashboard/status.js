// The statuses of jobs and attempts: each has a shape and a word, never a colour alone.

import { h } from "./dom.js";

export const STATUSES = ["blocked", "pending", "claimed", "queued", "running", "completed", "failed", "cancelled"];
export const ENDED = ["completed", "failed", "cancelled"];
export const CAN_RETRY = ["failed", "cancelled"];

const RING = ["circle", { cx: 6, cy: 6, r: 4.2, fill: "none", stroke: "currentColor", "stroke-width": 1.6 }];
const stroke = (d) => ["path", { d, fill: "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round" }];
const SHAPES = {
  blocked: [RING, stroke("M6 3.6v4.8")],
  pending: [RING],
  claimed: [RING, ["circle", { cx: 6, cy: 6, r: 1.6, fill: "currentColor" }]],
  queued: [stroke("M2 3h8M2 6h8M2 9h8")],
  running: [["path", { d: "M3 1.8 10.2 6 3 10.2z", fill: "currentColor" }]],
  completed: [stroke("M1.8 6.6 4.6 9.4 10.2 2.8")],
  failed: [stroke("M2.4 2.4l7.2 7.2M9.6 2.4 2.4 9.6")],
  cancelled: [RING, stroke("M3.2 8.8 8.8 3.2")],
  unhealthy: [stroke("M6 2v5M6 9.8v.2")],
};
const LIKE = { success: "completed", timeout: "failed", crashed: "failed", lost: "failed", released: "cancelled" };

export function mark(status) {
  const shapes = SHAPES[LIKE[status] ?? status] ?? SHAPES.pending;
  return h("svg", { class: "mark", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
    shapes.map(([tag, props]) => h(tag, props)));
}

export function badge(status, words = status) {
  return h("span", { class: `badge ${LIKE[status] ?? status}` }, mark(status), words);
}

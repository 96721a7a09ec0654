// The task's progress, and the end of what each attempt printed or logged.

import { h } from "./dom.js";
import { ago } from "./format.js";

export function progress(answer) {
  const latest = answer.attempts.at(-1)?.progress;
  if (!latest) return null;
  const share = Math.round(100 * latest.fraction);
  return h("div", { class: "progress" },
    h("progress", { max: 100, value: share, "aria-label": "Progress" }),
    h("p", {}, `${share} %`, latest.note ? `, ${latest.note}` : "", h("span", { class: "soft" }, ` (${ago(latest.at)})`)));
}

export function logs(answer) {
  const spoken = answer.attempts.filter((attempt) => attempt.output !== "");
  if (spoken.length === 0) return null;
  return spoken.map((attempt) => h("details", { key: attempt.attempt, open: attempt === spoken.at(-1) },
    h("summary", {}, `Attempt ${attempt.attempt}${attempt.is_running ? ", running" : ""}`),
    attempt.is_cut && h("p", { class: "soft" }, "Only the end was kept."),
    h("pre", { tabindex: 0, class: "log" }, attempt.output)));
}

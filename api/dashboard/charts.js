// Charts drawn as SVG: sixty minutes, bars for counts, lines for percentiles. A minute is picked with the pointer or the arrow
// keys, in all charts at once; its values are shown as text beside the title, which is also what a screen reader announces.

import { h } from "./dom.js";
import { minute } from "./format.js";
import { counting, decades } from "./scales.js";

export const MINUTES = 60;
const HEIGHT = 138;
const FRAME = { left: 46, right: 6, top: 8, bottom: 22 };

// `chart`: title, kind (bars or lines), series [{name, tone, values}], show (formats a value), whole (the text while nothing is picked).
export function figure(chart, { times, width, picked, pick }) {
  const words = picked === null ? chart.whole : `${minute(times[picked])}: ${wordsOf(chart, picked)}`;
  const plot = {
    class: "plot", tabindex: 0, role: "slider", "aria-label": `${chart.title}, by minute`, "aria-valuemin": 0, "aria-valuemax": MINUTES - 1,
    "aria-valuenow": picked ?? MINUTES - 1, "aria-valuetext": words,
    onpointermove: (event) => pick(minuteAt(event, width)), onpointerleave: () => pick(null), onblur: () => pick(null),
    onkeydown: (event) => onKey(event, picked, pick),
  };
  return h("figure", { key: chart.title, class: "chart" },
    h("figcaption", {}, h("h3", {}, chart.title), h("p", {}, words)),
    h("div", plot, drawing(chart, times, width, picked)),
    chart.series.length > 1 && h("p", { class: "legend" }, chart.series.map((one) => h("span", { class: `key ${one.tone}` }, one.name))));
}

const wordsOf = (chart, place) =>
  chart.series.map((one) => `${one.values[place] === null ? "–" : chart.show(one.values[place])} ${one.name}`).join(", ");

function minuteAt(event, width) {
  const x = event.clientX - event.currentTarget.getBoundingClientRect().left - FRAME.left;
  const place = Math.floor((x / (width - FRAME.left - FRAME.right)) * MINUTES);
  return Math.min(MINUTES - 1, Math.max(0, place));
}

function onKey(event, picked, pick) {
  const from = picked ?? MINUTES;
  const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: MINUTES - 1, Escape: null }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  pick(to === null ? null : Math.min(MINUTES - 1, Math.max(0, to)));
}

function drawing(chart, times, width, picked) {
  const inner = { width: width - FRAME.left - FRAME.right, height: HEIGHT - FRAME.top - FRAME.bottom };
  const all = chart.kind === "bars" ? sums(chart.series) : chart.series.flatMap((one) => one.values);
  const scale = chart.kind === "bars" ? counting(all) : decades(all);
  const x = (place) => FRAME.left + (place / MINUTES) * inner.width;
  const y = (value) => FRAME.top + (1 - scale.share(value)) * inner.height;
  return h("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, "aria-hidden": "true" },
    scale.ticks.map((tick) => h("g", { key: `tick ${tick}` },
      h("line", { class: "grid", x1: FRAME.left, x2: width - FRAME.right, y1: y(tick), y2: y(tick) }),
      h("text", { x: FRAME.left - 6, y: y(tick) + 4, "text-anchor": "end" }, chart.tick(tick)))),
    quarters(times).map((place) => h("text", { key: `at ${place}`, x: x(place), y: HEIGHT - 5, "text-anchor": place > 55 ? "end" : "middle" }, minute(times[place]))),
    picked !== null && h("rect", { key: "picked", class: "picked", x: x(picked), y: FRAME.top, width: inner.width / MINUTES, height: inner.height }),
    chart.kind === "bars" ? bars(chart.series, x, y, inner.width / MINUTES) : chart.series.map((one) => line(one, x, y, inner.width / MINUTES)));
}

const sums = (series) => series[0].values.map((_, place) => series.reduce((sum, one) => sum + one.values[place], 0));

function quarters(times) {
  const places = times.map((_, place) => place);
  return places.filter((place) => new Date(times[place]).getMinutes() % 15 === 0 && place > 1);
}

// Stacked bars: the first series is at the bottom.
function bars(series, x, y, step) {
  const ground = series[0].values.map(() => 0);
  return series.flatMap((one) => one.values.map((value, place) => {
    const low = ground[place];
    ground[place] += value;
    const height = y(low) - y(low + value);
    return value > 0 && h("rect", {
      key: `${one.name} ${place}`, class: one.tone, x: (x(place) + 0.5).toFixed(1), y: y(low + value).toFixed(1),
      width: Math.max(1, step - 1).toFixed(1), height: Math.max(1, height).toFixed(1),
    });
  }));
}

// A minute without a value is a gap; an isolated minute is a dot.
function line({ name, tone, values }, x, y, step) {
  const at = (place) => `${(x(place) + step / 2).toFixed(1)} ${y(values[place]).toFixed(1)}`;
  const parts = values.map((value, place) => {
    if (value === null) return "";
    const isFirst = place === 0 || values[place - 1] === null;
    return isFirst ? `M${at(place)}h0.01` : `L${at(place)}`;
  });
  return h("path", { key: name, class: `line ${tone}`, d: parts.join("") || "M0 0" });
}

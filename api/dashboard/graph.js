// The workflow that a job is part of, drawn as a graph; each job leads to its page.

import { h } from "./dom.js";
import { plural } from "./format.js";
import { HEIGHT, layOut, WIDTH } from "./graph-layout.js";
import { address } from "./route.js";
import { ENDED, mark } from "./status.js";

const MARGIN = 3;
const MOST_CHARACTERS = 17;

export const isWorkflow = (graph) => graph !== null && graph.nodes.length > 1;
export const isOver = (graph) => graph.nodes.every((node) => ENDED.includes(node.status));

export function graphOf(graph, here) {
  const { nodes, lines, width, height } = layOut(graph);
  const size = { width: width + 2 * MARGIN, height: height + 2 * MARGIN };
  return [
    h("p", { class: "soft" }, plural(graph.nodes.length, "job"), graph.is_whole ? "" : ", the nearest; there are more"),
    h("div", { class: "graph", tabindex: 0, role: "group", "aria-label": "Graph of the workflow" },
      h("svg", { ...size, viewBox: `${-MARGIN} ${-MARGIN} ${size.width} ${size.height}` },
        lines.map(([from, to]) => h("path", { key: `${from.key} ${to.key}`, class: "edge", d: curve(from, to) })),
        nodes.map((node) => (node.group === undefined ? jobNode(node, here) : groupNode(node))))),
  ];
}

function curve(from, to) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const middle = (x1 + x2) / 2;
  return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
}

function jobNode({ key, x, y, job }, here) {
  return h("a", { key, href: address(`jobs/${job.job_id}`), class: `node ${job.status}`, "aria-current": job.job_id === here ? "page" : null,
    "aria-label": `${job.ref ?? job.task}, ${job.status}` },
  h("title", {}, `${job.task} ${job.ref ?? ""} ${job.job_id}: ${job.status}`),
  h("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 6 }),
  h("g", { class: `badge ${job.status}`, transform: `translate(${x + 11} ${y + 14})` }, mark(job.status).children),
  h("text", { x: x + 31, y: y + 17 }, cut(job.ref ?? job.task)),
  h("text", { class: "small", x: x + 31, y: y + 32 }, job.ref === null ? `…${job.job_id.slice(-8)}` : cut(job.task)));
}

function groupNode({ key, x, y, group }) {
  return h("a", { key, href: address("jobs", { group }), class: "node group", "aria-label": `group ${group}` },
    h("title", {}, `group ${group}`), h("rect", { x, y, width: WIDTH, height: HEIGHT, rx: HEIGHT / 2 }),
    h("text", { x: x + 16, y: y + 24 }, cut(`group ${group}`)));
}

const cut = (text) => (text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS - 1)}…` : text);

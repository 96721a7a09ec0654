// Lays out a workflow: each node one column right of all that it waits for, and near these in its column. A group is a node, too.

export const WIDTH = 168;
export const HEIGHT = 40;
const GAP_X = 56;
const GAP_Y = 14;
const SWEEPS = 2;

// {nodes: [{key, x, y, job | group}], lines: [[from, to]], width, height}
export function layOut({ nodes, edges }) {
  const all = new Map(nodes.map((job) => [job.job_id, { key: job.job_id, job, before: [], after: [] }]));
  const join = (from, to) => {
    if (!all.has(from) || !all.has(to)) return; // beyond the 500 nodes that are shown
    all.get(from).after.push(all.get(to));
    all.get(to).before.push(all.get(from));
  };
  const groups = new Set(edges.map((edge) => edge.from.group).filter((group) => group !== undefined));
  for (const group of groups) all.set(keyOf(group), { key: keyOf(group), group, before: [], after: [] });
  for (const job of nodes) if (groups.has(job.group)) join(job.job_id, keyOf(job.group));
  for (const { from, to } of edges) join(typeof from === "string" ? from : keyOf(from.group), to);
  const columns = columnsOf([...all.values()]);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) columns.forEach(sortByNeighbours);
  return placed(columns);
}

const keyOf = (group) => `group ${group}`;

// Columns by the longest way from a node that waits for nothing. The service stores no cycle; without one, every node is reached.
function columnsOf(all) {
  const open = new Map(all.map((node) => [node, node.before.length]));
  const columns = [];
  let column = all.filter((node) => node.before.length === 0);
  while (column.length > 0) {
    columns.push(column);
    const next = [];
    for (const node of column) for (const one of node.after) {
      open.set(one, open.get(one) - 1);
      if (open.get(one) === 0) next.push(one);
    }
    column = next;
  }
  return columns;
}

function sortByNeighbours(column) {
  const mean = (node) => (node.before.length === 0 ? node.place ?? 0 : node.before.reduce((sum, one) => sum + (one.place ?? 0), 0) / node.before.length);
  const means = new Map(column.map((node) => [node, mean(node)]));
  column.sort((one, other) => means.get(one) - means.get(other));
  column.forEach((node, place) => (node.place = place));
}

function placed(columns) {
  const tallest = Math.max(...columns.map((column) => column.length));
  const heightOf = (length) => length * HEIGHT + (length - 1) * GAP_Y;
  columns.forEach((column, index) => column.forEach((node, place) => {
    node.x = index * (WIDTH + GAP_X);
    node.y = place * (HEIGHT + GAP_Y) + (heightOf(tallest) - heightOf(column.length)) / 2;
  }));
  const nodes = columns.flat();
  return {
    nodes, lines: nodes.flatMap((node) => node.after.map((one) => [node, one])),
    width: columns.length * (WIDTH + GAP_X) - GAP_X, height: heightOf(tallest),
  };
}

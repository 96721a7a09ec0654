// Renders trees of plain objects with as few changes to the page as possible, so that focus and selection are kept.
// Text is always inserted as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const known = new WeakMap(); // node → the properties that were set on it

export function h(tag, props, ...children) {
  const shown = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return { tag, props: props ?? {}, children: shown };
}

export function render(parent, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  const old = [...parent.childNodes];
  const taken = wanted.map((child) => takeMatch(old, child) ?? create(parent, child));
  for (const node of old) node.remove();
  taken.forEach((node, place) => {
    if (parent.childNodes[place] !== node) parent.insertBefore(node, parent.childNodes[place] ?? null);
    update(node, wanted[place]);
  });
}

function takeMatch(old, child) {
  const place = old.findIndex((node) => isMatch(node, child));
  return place < 0 ? null : old.splice(place, 1)[0];
}

function isMatch(node, child) {
  if (typeof child !== "object") return node.nodeType === Node.TEXT_NODE;
  return node.nodeType === Node.ELEMENT_NODE && node.localName === child.tag && known.get(node)?.key === child.props.key;
}

function create(parent, child) {
  if (typeof child !== "object") return document.createTextNode(child);
  const isSvg = child.tag === "svg" || (parent.namespaceURI === SVG && parent.localName !== "foreignObject");
  const node = isSvg ? document.createElementNS(SVG, child.tag) : document.createElement(child.tag);
  known.set(node, { key: child.props.key });
  return node;
}

function update(node, child) {
  if (typeof child !== "object") {
    if (node.data !== String(child)) node.data = child;
    return;
  }
  const before = known.get(node) ?? {};
  for (const name of Object.keys(before)) if (!(name in child.props)) set(node, name, null);
  for (const [name, value] of Object.entries(child.props)) if (before[name] !== value) set(node, name, value);
  known.set(node, child.props);
  render(node, child.children);
}

function set(node, name, value) {
  if (name === "key") return;
  if (name.startsWith("on")) node[name] = value;
  else if (name === "value" && node.localName !== "progress") node.value = value ?? "";
  else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

export const byId = (id) => document.getElementById(id);

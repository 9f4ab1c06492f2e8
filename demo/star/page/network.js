// Tasks in their hosts, and what they measured of each other.

import { byId, html, put, short, svg } from "./dom.js";
import { RADIUS, layOut } from "./layout.js";
import { STATES, colourOf, patternDefs, patternId, shape, slotOf } from "./shapes.js";

const CLOSED = new Set(["ok-denied", "not-reached"]);
const BADGES = new Set(["LEAK", "BROKEN"]);
const MANY = 9;
const RING = { ok: "in sync", pending: "pending", failed: "failed", measured: "answers", gone: "does not answer", waiting: "waits for a host" };
const ORDER = ["no-data", "ok-denied", "not-reached", "ok-allowed", "reached", "settling", "BROKEN", "LEAK"];

function wedge(from, to, radius) {
  const point = (turn) => {
    const angle = (turn - 0.25) * 2 * Math.PI;
    return `${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`;
  };
  return `M0 0L${point(from)}A${radius} ${radius} 0 ${to - from > 0.5 ? 1 : 0} 1 ${point(to)}Z`;
}

function disc(node) {
  const groups = node.groups;
  if (groups.length === 0) return [svg("circle", { r: RADIUS - 3, class: "no-group" })];
  if (groups.length === 1) {
    return [svg("circle", { r: RADIUS - 3, fill: `url(#${patternId(slotOf(groups[0]))})` })];
  }
  return groups.map((group, index) =>
    svg("path", {
      d: wedge(index / groups.length, (index + 1) / groups.length, RADIUS - 3),
      fill: `url(#${patternId(slotOf(group))})`,
      class: "wedge",
    }),
  );
}

function labelOf(node, lines) {
  const beside = { left: [-(RADIUS + 13), "end"], right: [RADIUS + 13, "start"] }[node.label];
  const [x, anchor] = beside || [0, "middle"];
  let top = RADIUS + 20;
  if (beside) top = 5 - (lines.length - 1) * 7.5;
  else if (node.label === "above") top = -(RADIUS + 13) - (lines.length - 1) * 15;
  return lines.map(([text, kind], index) => svg("text", { x, y: top + index * 15, class: `${kind} anchor-${anchor}` }, text));
}

function drawNode(node, party) {
  const groups = node.groups.join(", ");
  const name = party.name;
  let label = party.id.length <= 3 ? party.id : name.slice(0, 1).toUpperCase();
  if (party.collector) label = "★";
  const told = [name, node.task, node.address, groups && `groups ${groups}`, RING[node.ring], node.reason];
  const lines = [[short(name, 15), "node-name"], [node.address || RING[node.ring], "node-address"], [short(groups, 24), "node-groups"]];
  return svg(
    "g",
    {
      class: "node",
      transform: `translate(${node.x.toFixed(1)} ${node.y.toFixed(1)})`,
      "data-task": node.party,
      "data-task-id": node.task,
      "data-host": node.host,
      "data-ring": node.ring,
      "data-groups": node.groups.join(" "),
      "data-main": node.main,
    },
    svg("title", {}, told.filter(Boolean).join(" · ")),
    svg("circle", { r: RADIUS + 5, class: "halo" }),
    svg("circle", { r: RADIUS + 2, class: "ring" }),
    ...disc(node),
    svg("circle", { r: 14, class: "hub" }),
    svg("text", { y: 5, class: "node-id" }, label),
    ...labelOf(node, lines.filter(([text]) => text)),
  );
}

// What all of a box wait for, where there is room to say it.
function reasonOf(box) {
  const reasons = [...new Set(box.nodes.map((node) => node.reason))];
  return reasons.length === 1 && box.width > 480 ? reasons[0].replace(/^waits /, "") : "";
}

function drawBox(box) {
  const others = box.host && box.host.others ? `+${box.host.others} other task${box.host.others > 1 ? "s" : ""}` : "";
  const agent = box.host && box.host.agent && box.host.agent !== "reporting" ? `agent ${box.host.agent}` : "";
  return svg(
    "g",
    { class: box.gone ? "host gone" : "host", "data-host-box": box.title },
    svg("rect", { x: box.x + 0.5, y: box.y + 0.5, width: box.width - 1, height: box.height - 1, rx: 12 }),
    svg("text", { x: box.x + 16, y: box.y + 25, class: "host-name" }, short(box.title, 28)),
    svg("text", { x: box.x + box.width - 16, y: box.y + 25, class: "host-more" }, [agent, others, box.gone ? reasonOf(box) : ""].filter(Boolean).join(" · ")),
  );
}

// Both directions in one line where they are of one state.
function linksOf(cells, showClosed) {
  const links = new Map();
  for (const cell of cells) {
    if (cell.state === "no-data" || (CLOSED.has(cell.state) && !showClosed)) continue;
    const back = links.get(`${cell.to}\n${cell.from}`);
    if (back && back.cell.state === cell.state) back.both = true;
    else links.set(`${cell.from}\n${cell.to}`, { cell, both: false, pair: Boolean(back) });
    if (back) back.pair = true;
  }
  return [...links.values()].sort((one, other) => ORDER.indexOf(one.cell.state) - ORDER.indexOf(other.cell.state));
}

function drawLink(link, nodes, badges) {
  const { cell, both, pair } = link;
  const [from, to] = [nodes.get(cell.from), nodes.get(cell.to)];
  if (!from || !to) return null;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const [ux, uy] = [dx / length, dy / length];
  let bend = Math.min(46, length * (pair && !both ? 0.16 : 0.05));
  const inwards = { left: -1, right: 1 }[from.side === to.side && from.side];
  if (inwards && Math.abs(dy) > 150) {
    // Around those who stand between the two, on the side without names.
    bend = Math.sign(dy) * inwards * Math.min(64, length * (pair && !both && dy < 0 ? 0.26 : 0.18));
  }
  const middle = [from.x + dx / 2 - uy * bend, from.y + dy / 2 + ux * bend];
  const edge = (node, back) => {
    const [x, y] = [middle[0] - node.x, middle[1] - node.y];
    const far = Math.hypot(x, y) || 1;
    const reach = RADIUS + (back ? 8 : 9);
    return [node.x + (x / far) * reach, node.y + (y / far) * reach];
  };
  const [start, end] = [edge(from, true), edge(to, false)];
  const d = `M${start[0].toFixed(1)} ${start[1].toFixed(1)}Q${middle[0].toFixed(1)} ${middle[1].toFixed(1)} ${end[0].toFixed(1)} ${end[1].toFixed(1)}`;
  const arrows = !CLOSED.has(cell.state);
  const on = (t) => [0, 1].map((axis) => (1 - t) ** 2 * start[axis] + 2 * t * (1 - t) * middle[axis] + t ** 2 * end[axis]);
  const told = `${nodes.get(cell.from).label} ${both ? "and" : "to"} ${nodes.get(cell.to).label}: ${STATES[cell.state].word} ${STATES[cell.state].detail}`;
  return svg(
    "g",
    {
      class: `link s-${cell.state}`,
      role: "button",
      tabindex: -1,
      "aria-label": told,
      "data-from": cell.from,
      "data-to": cell.to,
      "data-state": cell.state,
      "data-both": both,
    },
    svg("title", {}, told),
    svg("path", { d, class: "link-touch" }),
    cell.state === "LEAK" ? svg("path", { d, class: "link-casing" }) : null,
    svg("path", {
      d,
      class: "link-line",
      "marker-end": arrows ? `url(#arrow-${cell.state})` : null,
      "marker-start": arrows && both ? `url(#arrow-${cell.state})` : null,
    }),
    BADGES.has(cell.state) ? drawBadge(cell.state, freePlace(on, badges)) : null,
  );
}

// The middle, or the nearest place to it where no other badge is.
function freePlace(on, badges) {
  const room = ([x, y]) => Math.min(...badges.map(([a, b]) => Math.max(Math.abs(x - a) / 88, Math.abs(y - b) / 26)), 9);
  const places = [0.5, 0.4, 0.6, 0.3, 0.7, 0.22, 0.78].map(on);
  const place = places.find((each) => room(each) >= 1) || places.reduce((best, each) => (room(each) > room(best) ? each : best));
  badges.push(place);
  return place;
}

function drawBadge(state, [x, y]) {
  const wide = state === "LEAK" ? 62 : 82;
  const icon = shape(state, 14);
  icon.setAttribute("x", -wide / 2 + 8);
  icon.setAttribute("y", -7);
  return svg(
    "g",
    { class: "badge", transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
    svg("rect", { x: -wide / 2, y: -11, width: wide, height: 22, rx: state === "LEAK" ? 11 : 4 }),
    icon,
    svg("text", { x: 9, y: 4 }, state),
  );
}

function arrow(state) {
  return svg(
    "marker",
    { id: `arrow-${state}`, viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse", class: `s-${state}` },
    svg("path", { d: "M0 .6 7.4 4 0 7.4Z", class: "arrow" }),
  );
}

export function createNetwork(choose) {
  const frame = byId("network");
  let current = null;
  let drawn = "";
  let roving = "";

  function keyOf(element) {
    return `${element.dataset.from}\n${element.dataset.to}`;
  }

  function redraw() {
    const width = Math.floor(frame.clientWidth);
    if (!current || width < 50) return;
    const showClosed = byId("show-closed").checked;
    const sign = JSON.stringify([width, showClosed, current.nodes, current.hosts, current.cells.map((cell) => [cell.from, cell.to, cell.state])]);
    if (sign === drawn) return;
    drawn = sign;
    const focused = frame.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    const parties = new Map(current.parties.map((party) => [party.id, party]));
    const nodes = current.nodes.map((node) => ({ ...node }));
    const plan = layOut({ ...current, nodes }, width);
    const mains = new Map();
    for (const node of nodes) {
      if (node.main) mains.set(node.party, { x: node.x, y: node.y, side: node.label, label: parties.get(node.party).name });
    }
    const slots = [...new Set(current.groups.map(slotOf))];
    const badges = [];
    const links = linksOf(current.cells, showClosed).map((link) => drawLink(link, mains, badges)).filter(Boolean);
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${width} ${plan.height}`, width, height: plan.height, role: "group", "aria-label": "Tasks on their hosts, with the links between them" },
      svg("defs", {}, ...patternDefs(slots), ...Object.keys(STATES).map(arrow)),
      ...plan.boxes.map(drawBox),
      ...links,
      ...nodes.map((node) => drawNode(node, parties.get(node.party))),
    );
    frame.replaceChildren(picture);
    const stop = links.find((link) => keyOf(link) === roving) || links[0];
    if (stop) stop.setAttribute("tabindex", "0");
    if (focused) (links.find((link) => keyOf(link) === focused) || stop)?.focus({ preventScroll: true });
    drawLegends(current, slots);
  }

  frame.addEventListener("click", (event) => {
    const link = event.target.closest(".link");
    if (link) choose(link.dataset.from, link.dataset.to);
  });
  frame.addEventListener("keydown", (event) => {
    const link = event.target.closest(".link");
    if (!link) return;
    const links = [...frame.querySelectorAll(".link")];
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      const next = links[(links.indexOf(link) + step + links.length) % links.length];
      link.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
      roving = keyOf(next);
    } else if (event.key === "Enter" || event.key === " ") choose(link.dataset.from, link.dataset.to);
    else return;
    event.preventDefault();
  });
  byId("show-closed").addEventListener("change", redraw);
  new ResizeObserver(redraw).observe(frame);

  return (state) => {
    // Among many the closed pairs would hide the others; who wants them can have them.
    if (!current && state.parties.length > MANY) byId("show-closed").checked = false;
    current = state;
    redraw();
  };
}

function drawLegends(state) {
  const groups = state.groups.map((group) => {
    const slot = slotOf(group);
    const swatch = svg(
      "svg",
      { viewBox: "0 0 24 16", width: 24, height: 16, "aria-hidden": "true" },
      svg("rect", { width: 24, height: 16, rx: 4, fill: `url(#${patternId(slot)})` }),
    );
    return html("li", { "data-group": group, class: `g${colourOf(slot)}` }, swatch, html("span", { title: group }, short(group, 32)));
  });
  byId("groups").replaceChildren(...groups);
  const present = new Set(state.cells.map((cell) => cell.state));
  const judged = state.cells.some((cell) => cell.expected !== "unknown");
  const wanted = judged ? ["ok-allowed", "ok-denied", "LEAK", "BROKEN"] : [];
  const shown = Object.keys(STATES).filter((name) => name !== "no-data" && (wanted.includes(name) || present.has(name)));
  if (byId("lines").dataset.shown === shown.join(" ")) return;
  byId("lines").dataset.shown = shown.join(" ");
  byId("lines").replaceChildren(
    ...shown.map((name) => {
      const sample = svg("svg", { viewBox: "0 0 34 12", width: 34, height: 12, class: `link s-${name}`, "aria-hidden": "true" });
      if (name === "LEAK") sample.append(svg("path", { d: "M1 6h31", class: "link-casing" }));
      sample.append(svg("path", { d: "M1 6h31", class: "link-line" }));
      const words = [STATES[name].word, STATES[name].detail.split(",")[0]].filter((word) => word && word !== "denied" && word !== "as measured");
      const item = html("li", {}, sample, html("span"));
      put(item.lastChild, name.startsWith("ok") ? `ok ${STATES[name].detail}` : words[0]);
      return item;
    }),
  );
}

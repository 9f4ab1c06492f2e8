// Where everything stands. The same tasks on the same hosts always stand alike.

export const RADIUS = 25;
const GAP = 16;
const HEAD = 40;
const STEP_X = 104;
const STEP_Y = 122;
const FOOT = 64;
const NARROW = 520;
const BOW = 30;

export const NOT_RUNNING = "not running";
export const SOMEWHERE = "somewhere";

function boxesOf(state) {
  const boxes = new Map(state.hosts.map((host) => [`host ${host.name}`, { title: host.name, host, nodes: [] }]));
  for (const node of state.nodes) {
    let key = `host ${node.host}`;
    if (!node.host) key = node.ring === "gone" ? NOT_RUNNING : SOMEWHERE;
    if (!boxes.has(key)) {
      const title = node.host || (key === NOT_RUNNING ? "Not running" : "Tasks");
      boxes.set(key, { title, host: null, gone: key === NOT_RUNNING, nodes: [] });
    }
    boxes.get(key).nodes.push(node);
  }
  const named = [...boxes].filter(([key]) => key.startsWith("host ")).map(([, box]) => box);
  const others = [SOMEWHERE, NOT_RUNNING].filter((key) => boxes.has(key)).map((key) => boxes.get(key));
  return { named: others.length && boxes.has(SOMEWHERE) ? [...named, boxes.get(SOMEWHERE)] : named, gone: boxes.get(NOT_RUNNING) };
}

// One column beside others bends outwards, so that no three stand in a line.
function column(box, at, side) {
  const count = box.nodes.length;
  const most = Math.max(1, Math.floor((at.width - 24) / STEP_X));
  const columns = count <= 4 ? 1 : Math.min(most, Math.ceil(count / 4));
  const rows = Math.ceil(count / columns);
  box.nodes.forEach((node, index) => {
    const row = Math.floor(index / columns);
    const place = (index % columns) - (columns - 1) / 2;
    const bend = rows > 1 ? Math.cos(((row - (rows - 1) / 2) / Math.max(1, rows - 1)) * Math.PI) : 0;
    const shift = columns === 1 ? side * Math.min(BOW, at.width / 5) * (bend - 0.5) * 1.6 : (row % 2) * 16 - 8;
    node.x = at.x + at.width / 2 + place * STEP_X + shift;
    node.y = at.y + HEAD + RADIUS + 8 + row * STEP_Y;
  });
  return HEAD + RADIUS + 8 + Math.max(0, rows - 1) * STEP_Y + RADIUS + FOOT;
}

function row(box, at, bow) {
  const most = Math.max(1, Math.floor((at.width - 8) / STEP_X));
  const count = box.nodes.length;
  box.nodes.forEach((node, index) => {
    const line = Math.floor(index / most);
    const inLine = Math.min(most, count - line * most);
    const step = Math.min(STEP_X * 1.35, (at.width - 8) / inLine);
    node.x = at.x + at.width / 2 + ((index % most) - (inLine - 1) / 2) * step;
    node.y = at.y + HEAD + RADIUS + 6 + line * STEP_Y + (bow && index % 2 ? 14 : 0);
  });
  const lines = Math.max(1, Math.ceil(count / most));
  return HEAD + RADIUS + 6 + (lines - 1) * STEP_Y + RADIUS + FOOT + (bow ? 14 : 0);
}

export function layOut(state, width) {
  const { named, gone } = boxesOf(state);
  const narrow = width < NARROW;
  const columns = narrow ? 1 : Math.max(1, Math.min(named.length, Math.floor(width / 200)));
  const wide = (width - GAP * (columns - 1)) / columns;
  const placed = [];
  let top = 0;
  for (let first = 0; first < named.length; first += columns) {
    const line = named.slice(first, first + columns);
    const heights = line.map((box, index) => {
      const at = { x: index * (wide + GAP), y: top, width: wide };
      const side = line.length === 1 ? 0 : index < line.length / 2 ? -1 : 1;
      const height = box.nodes.length === 0 ? HEAD + 40 : narrow || line.length === 1 ? row(box, at, true) : column(box, at, side);
      placed.push({ ...box, ...at, height });
      return height;
    });
    const height = Math.max(...heights, 96);
    for (const box of placed.slice(-line.length)) {
      const spare = (height - box.height) / 2;
      for (const node of box.nodes) node.y += spare;
      box.height = height;
    }
    top += height + GAP * (narrow ? 2 : 1);
  }
  if (gone) {
    const at = { x: 0, y: top, width };
    const height = row(gone, at, false);
    placed.push({ ...gone, ...at, height });
    top += height + GAP;
  }
  return { boxes: placed, width, height: Math.max(120, top - GAP) };
}

// Where everything stands. The same tasks on the same hosts always stand alike.

export const RADIUS = 25;
const GAP = 16;
const HEAD = 40;
const STEP_X = 104;
const STEP_Y = 122;
const FOOT = 64;
const NARROW = 520;
const STEP_BESIDE = 122;
const BESIDE = 225;
const BOW = 28;

export const NOT_ANSWERING = "not answering";
export const WAITING = "waiting";
export const SOMEWHERE = "somewhere";
const TITLES = { [NOT_ANSWERING]: "Not answering", [WAITING]: "Waiting for a host" };
const ABSENT = { gone: NOT_ANSWERING, waiting: WAITING };

function boxesOf(state) {
  const boxes = new Map(state.hosts.map((host) => [`host ${host.name}`, { title: host.name, host, nodes: [] }]));
  for (const node of state.nodes) {
    let key = `host ${node.host}`;
    if (!node.host) key = ABSENT[node.ring] || SOMEWHERE;
    if (!boxes.has(key)) {
      const title = node.host || TITLES[key] || "Tasks";
      boxes.set(key, { title, host: null, gone: key in TITLES, nodes: [] });
    }
    boxes.get(key).nodes.push(node);
  }
  const named = [...boxes].filter(([key]) => key.startsWith("host ")).map(([, box]) => box);
  const absent = Object.keys(TITLES).filter((key) => boxes.has(key)).map((key) => boxes.get(key));
  return { named: boxes.has(SOMEWHERE) ? [...named, boxes.get(SOMEWHERE)] : named, absent };
}

// Names stand on the outer side, where no link passes. One column bulges
// outwards, so that no three of its tasks stand in a line.
function column(box, at, side) {
  const count = box.nodes.length;
  const most = Math.max(1, Math.floor((at.width - 24) / STEP_X));
  const columns = count <= 5 ? 1 : Math.min(most, Math.ceil(count / 4));
  const beside = columns === 1 && side !== 0 && at.width >= BESIDE;
  const step = beside ? STEP_BESIDE : STEP_Y;
  const rows = Math.ceil(count / columns);
  box.nodes.forEach((node, index) => {
    const row = Math.floor(index / columns);
    const place = (index % columns) - (columns - 1) / 2;
    const bulge = rows > 1 ? Math.cos(((row - (rows - 1) / 2) / (rows - 1)) * Math.PI) : 0;
    const shift = beside ? side * (bulge * BOW - at.width * 0.18) : columns === 1 ? side * bulge * BOW : (row % 2) * 16 - 8;
    node.x = at.x + at.width / 2 + place * STEP_X + shift;
    node.y = at.y + HEAD + RADIUS + 12 + row * step;
    node.label = beside ? (side < 0 ? "left" : "right") : "below";
  });
  return HEAD + RADIUS + 12 + Math.max(0, rows - 1) * step + RADIUS + (beside ? 28 : FOOT);
}

function row(box, at, bow, above) {
  const most = Math.max(1, Math.floor((at.width - 8) / STEP_X));
  const count = box.nodes.length;
  const head = above ? HEAD + FOOT - 14 : HEAD;
  box.nodes.forEach((node, index) => {
    const line = Math.floor(index / most);
    const inLine = Math.min(most, count - line * most);
    const step = Math.min(STEP_X * 1.35, (at.width - 8) / inLine);
    const lower = bow && index % 2 !== (above ? 1 : 0) ? 0 : 14;
    node.x = at.x + at.width / 2 + ((index % most) - (inLine - 1) / 2) * step;
    node.y = at.y + head + RADIUS + 6 + line * STEP_Y + (bow ? lower : 0);
    node.label = above ? "above" : "below";
  });
  const lines = Math.max(1, Math.ceil(count / most));
  return head + RADIUS + 6 + (lines - 1) * STEP_Y + RADIUS + (above ? 22 : FOOT) + (bow ? 14 : 0);
}

// One box alone has room for a ring, the shape that Star is named after.
function ring(box, at) {
  const count = box.nodes.length;
  const across = Math.min(at.width / 2 - 150, 60 + count * 18);
  const down = 40 + count * 14;
  box.nodes.forEach((node, index) => {
    const angle = (index / count - 0.25) * 2 * Math.PI;
    node.x = at.x + at.width / 2 + across * Math.cos(angle);
    node.y = at.y + HEAD + RADIUS + 12 + down + down * Math.sin(angle);
    node.label = Math.cos(angle) < -0.1 ? "left" : "right";
  });
  return HEAD + 2 * RADIUS + 40 + 2 * down;
}

export function layOut(state, width) {
  const { named, absent } = boxesOf(state);
  const narrow = width < NARROW;
  const columns = narrow ? 1 : Math.max(1, Math.min(named.length, Math.floor(width / 200)));
  const wide = (width - GAP * (columns - 1)) / columns;
  const lone = (box) => named.length === 1 && !narrow && box.nodes.length >= 3 && box.nodes.length <= 16;
  const placed = [];
  let top = 0;
  for (let first = 0; first < named.length; first += columns) {
    const line = named.slice(first, first + columns);
    const heights = line.map((box, index) => {
      const at = { x: index * (wide + GAP), y: top, width: wide };
      const side = line.length === 1 ? 0 : index < line.length / 2 ? -1 : 1;
      const above = narrow && first === 0 && named.length > 1;
      let height = HEAD + 40;
      if (box.nodes.length > 0) height = lone(box) ? ring(box, at) : line.length === 1 ? row(box, at, true, above) : column(box, at, side);
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
  for (const gone of absent) {
    const at = { x: 0, y: top, width };
    const height = row(gone, at, false, false);
    placed.push({ ...gone, ...at, height });
    top += height + GAP;
  }
  return { boxes: placed, width, height: Math.max(120, top - GAP) };
}

// What states and groups look like: a word, a shape and a colour each.

import { svg } from "./dom.js";

export const STATES = {
  "ok-allowed": { word: "ok", detail: "allowed", meaning: "should be reached, and is" },
  "ok-denied": { word: "ok", detail: "denied", meaning: "should not be reached, and is not" },
  LEAK: { word: "LEAK", detail: "denied, but reached", meaning: "is reached, and should not be" },
  BROKEN: {
    word: "BROKEN",
    detail: "allowed, not reached",
    meaning: "should be reached, and is not",
  },
  settling: { word: "settling", detail: "under way", meaning: "a change is under way" },
  "no-data": { word: "no data", detail: "", meaning: "nothing is measured" },
  reached: { word: "reached", detail: "", meaning: "is reached" },
  "not-reached": { word: "not reached", detail: "", meaning: "is not reached" },
};

const PATHS = {
  "ok-allowed": ["circle", "M7.4 12.4l3.1 3.1 6.1-6.6"],
  "ok-denied": ["circle", "M7.5 12h9"],
  LEAK: ["triangle", "M12 9.2v5M12 17v.2"],
  BROKEN: ["square", "M8 8l8 8M16 8l-8 8"],
  settling: ["dashes", "M12 7.5V12l3 2.2"],
  "no-data": ["none", "M8 12h8"],
  reached: ["none", "M5 12h12M13 7.5l4.5 4.5-4.5 4.5"],
  "not-reached": ["none", "M5 12h8M16 7v10"],
};

function outline(kind) {
  switch (kind) {
    case "triangle":
      return svg("path", { d: "M12 2.6 22.4 20.8H1.6Z", class: "shape-body" });
    case "square":
      return svg("rect", { x: 2.5, y: 2.5, width: 19, height: 19, rx: 3, class: "shape-body" });
    case "none":
      return null;
    default:
      return svg("circle", { cx: 12, cy: 12, r: 9.4, class: `shape-body ${kind}` });
  }
}

export function shape(state, size = 24) {
  const [kind, path] = PATHS[state] || PATHS["no-data"];
  return svg(
    "svg",
    { viewBox: "0 0 24 24", width: size, height: size, class: "shape", "data-shape": state, "aria-hidden": "true" },
    outline(kind),
    svg("path", { d: path, class: "shape-mark" }),
  );
}

// Groups keep their colour and pattern for as long as the page is open.
const COLOURS = 6;
const PUBLIC = "public";
const slots = new Map();

export function slotOf(group) {
  if (group === PUBLIC) return 0;
  if (!slots.has(group)) slots.set(group, slots.size + 1);
  return slots.get(group);
}

export function colourOf(slot) {
  return slot % COLOURS;
}

export function patternOf(slot) {
  return (slot + Math.floor(slot / COLOURS)) % COLOURS;
}

const MARKS = [
  [],
  [["path", { d: "M-2 6 6-2M2 10 10 2" }]],
  [["circle", { cx: 2, cy: 2, r: 1.3, class: "mark-dot" }], ["circle", { cx: 6, cy: 6, r: 1.3, class: "mark-dot" }]],
  [["path", { d: "M0 2h8M0 6h8" }]],
  [["path", { d: "M0 0l8 8M8 0 0 8" }]],
  [["path", { d: "M2 0v8M6 0v8" }]],
];

export function patternId(slot) {
  return `group-${colourOf(slot)}-${patternOf(slot)}`;
}

export function patternDefs(usedSlots) {
  const made = new Map();
  for (const slot of usedSlots) {
    if (made.has(patternId(slot))) continue;
    const marks = MARKS[patternOf(slot)].map(([tag, attributes]) => svg(tag, { class: "mark", ...attributes }));
    made.set(
      patternId(slot),
      svg(
        "pattern",
        { id: patternId(slot), width: 8, height: 8, patternUnits: "userSpaceOnUse" },
        svg("rect", { width: 8, height: 8, class: `group-fill g${colourOf(slot)}` }),
        ...marks,
      ),
    );
  }
  return [...made.values()];
}

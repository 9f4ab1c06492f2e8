// What changed, the newest first, with how long it took to settle.

import { byId, html, put } from "./dom.js";

const SIGNS = { started: "+", ended: "−", changed: "~", trouble: "!", answers: "+", silent: "−", LEAK: "!", BROKEN: "×" };
const WORDS = { LEAK: "LEAK", BROKEN: "BROKEN" };

function settledIn(entry) {
  if (entry.kind === "answers" || entry.kind === "silent") return "";
  if (entry.settled === null) return entry.kind === "LEAK" || entry.kind === "BROKEN" ? "goes on" : "settling …";
  return entry.kind === "LEAK" || entry.kind === "BROKEN" ? `over after ${entry.settled} s` : `settled in ${entry.settled} s`;
}

function clock(seconds) {
  return new Date(seconds * 1000).toTimeString().slice(0, 8);
}

export function createTimeline() {
  const list = byId("timeline");
  return (entries) => {
    if (entries.length === 0) {
      if (!list.querySelector(".empty")) list.replaceChildren(html("li", { class: "empty" }, "Nothing has changed since this collector started."));
      return;
    }
    const present = new Map([...list.children].map((item) => [item.dataset.key, item]));
    const items = entries.map((entry) => {
      const item =
        // A collector that starts anew counts anew.
        present.get(`${entry.number} ${entry.clock}`) ||
        html(
          "li",
          { "data-key": `${entry.number} ${entry.clock}`, "data-kind": entry.kind },
          html("time", { datetime: new Date(entry.clock * 1000).toISOString() }, clock(entry.clock)),
          html("span", { class: "sign", "aria-hidden": "true" }, SIGNS[entry.kind] || "·"),
          html("span", { class: "what" }, WORDS[entry.kind] ? html("strong", {}, `${entry.kind} `) : null, entry.text),
          html("span", { class: "settled" }),
        );
      item.dataset.settled = entry.settled === null ? "no" : "yes";
      put(item.querySelector(".settled"), settledIn(entry));
      return item;
    });
    if (items.length !== list.children.length || items.some((item, index) => list.children[index] !== item)) list.replaceChildren(...items);
  };
}

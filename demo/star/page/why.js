// What the product says of one pair, beside what is measured of it.

import { byId, html } from "./dom.js";
import { STATES, shape } from "./shapes.js";

export function createWhy() {
  const frame = byId("why");
  let chosen = null;
  let asked = "";
  let lines = "";
  let drawn = "";

  function told() {
    if (!lines) return ["asking …"];
    return lines.trimEnd().split("\n").map((line) => html("span", { class: "why-line" }, `${line}\n`));
  }

  async function ask(pair, onAnswer) {
    const query = new URLSearchParams({ from: pair[0], to: pair[1] });
    try {
      const answer = await fetch(`/why?${query}`);
      lines = await answer.text();
    } catch {
      lines = "The collector does not answer.";
    }
    if (chosen && chosen.join("\n") === pair.join("\n")) onAnswer();
  }

  function draw(state) {
    if (!chosen) {
      if (!drawn) frame.replaceChildren(html("p", { class: "empty" }, "Choose a cell of the matrix or a link of the network: what decides is told here."));
      drawn = "empty";
      return;
    }
    const cell = state.cells.find((each) => each.from === chosen[0] && each.to === chosen[1]);
    const names = new Map(state.parties.map((party) => [party.id, party.name]));
    const sign = JSON.stringify([chosen, cell, lines, [...names]]);
    if (sign === drawn) return;
    drawn = sign;
    const look = STATES[cell ? cell.state : "no-data"];
    frame.replaceChildren(
      html(
        "p",
        { class: `why-head s-${cell ? cell.state : "no-data"}` },
        html("span", { class: "chip" }, shape(cell ? cell.state : "no-data", 18), html("span", {}, [look.word, look.detail].filter(Boolean).join(" · "))),
        html("span", { class: "pair" }, `${names.get(chosen[0]) || chosen[0]} → ${names.get(chosen[1]) || chosen[1]}`),
      ),
      html("p", { class: "why-note" }, cell ? `${cell.note} Expected ${cell.expected}, observed ${cell.observed}, port ${cell.port}.` : "Nobody measures this pair."),
      html("pre", { tabindex: 0, "aria-label": "What marathon-calico why says" }, ...told()),
    );
  }

  return {
    get chosen() {
      return chosen;
    },
    choose(pair, state) {
      chosen = pair;
      lines = "";
      asked = "";
      this.show(state);
    },
    // Asked anew whenever the state of the pair changed.
    show(state) {
      draw(state);
      if (!chosen) return;
      const cell = state.cells.find((each) => each.from === chosen[0] && each.to === chosen[1]);
      const sign = JSON.stringify([chosen, cell && [cell.state, cell.note]]);
      if (sign === asked) return;
      asked = sign;
      ask(chosen, () => draw(state));
    },
  };
}

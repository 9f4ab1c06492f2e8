// Expected x observed: one cell for each pair that somebody measures.

import { byId, html, put } from "./dom.js";
import { STATES, shape } from "./shapes.js";

const MANY = 8;
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function heading(party, scope) {
  const more = party.name === party.id ? null : html("span", { class: "party-id" }, party.id);
  return html("th", { scope, "data-party": party.id }, html("span", { class: "party-name", title: party.app || party.id }, party.name), more);
}

function cellOf(from, to, row, column) {
  const cell = html(
    "td",
    { role: "gridcell", tabindex: -1, "data-from": from.id, "data-to": to.id, "data-row": row, "data-column": column },
    html("span", { class: "cell-shape" }),
    html("span", { class: "cell-word" }),
    html("span", { class: "cell-detail" }),
  );
  return cell;
}

function show(element, cell, names) {
  const look = STATES[cell.state];
  const words = `${names.get(cell.from)} to ${names.get(cell.to)}: ${look.word}${look.detail ? `, ${look.detail}` : ""}`;
  element.setAttribute("aria-label", words);
  element.title = cell.note;
  if (element.dataset.state === cell.state) return;
  const before = element.dataset.state;
  element.dataset.state = cell.state;
  element.className = `s-${cell.state}`;
  element.querySelector(".cell-shape").replaceChildren(shape(cell.state));
  put(element.querySelector(".cell-word"), look.word);
  put(element.querySelector(".cell-detail"), look.detail);
  if (before) {
    void element.offsetWidth;
    element.classList.add("flipped");
  }
}

export function createMatrix(choose) {
  const frame = byId("matrix");
  let built = "";
  let roving = null;

  function build(state) {
    const asked = new Set(state.cells.map((cell) => cell.to));
    const asking = new Set(state.cells.map((cell) => cell.from));
    const rows = state.parties.filter((party) => asking.has(party.id) || !party.collector);
    const columns = state.parties.filter((party) => asked.has(party.id) || !party.collector);
    const sign = JSON.stringify([rows, columns].map((line) => line.map((party) => [party.id, party.name])));
    if (sign === built) return;
    built = sign;
    const focused = frame.contains(document.activeElement) ? document.activeElement.dataset : null;
    const head = html("tr", {}, html("th", { class: "corner", scope: "col" }, "from ↓  to →"), ...columns.map((party) => heading(party, "col")));
    const body = rows.map((from, row) =>
      html(
        "tr",
        {},
        heading(from, "row"),
        ...columns.map((to, column) =>
          from.id === to.id ? html("td", { class: "self", role: "gridcell", "aria-label": "itself" }, "·") : cellOf(from, to, row, column),
        ),
      ),
    );
    const table = html("table", { role: "grid", "aria-labelledby": "matrix-title", class: columns.length > MANY ? "dense" : null }, html("thead", {}, head), html("tbody", {}, ...body));
    frame.replaceChildren(table);
    const first = find(roving) || frame.querySelector("td[data-from]");
    if (first) first.tabIndex = 0;
    if (focused) first?.focus({ preventScroll: true });
  }

  function find(pair) {
    if (!pair) return null;
    return [...frame.querySelectorAll("td[data-from]")].find((cell) => cell.dataset.from === pair[0] && cell.dataset.to === pair[1]);
  }

  function move(cell, [down, right]) {
    let [row, column] = [Number(cell.dataset.row), Number(cell.dataset.column)];
    const all = [...frame.querySelectorAll("td[data-from]")];
    for (let steps = 0; steps < all.length; steps += 1) {
      row += down;
      column += right;
      const next = all.find((each) => Number(each.dataset.row) === row && Number(each.dataset.column) === column);
      if (next) return next;
    }
    return cell;
  }

  function focus(cell) {
    for (const each of frame.querySelectorAll("td[tabindex='0']")) each.tabIndex = -1;
    cell.tabIndex = 0;
    roving = [cell.dataset.from, cell.dataset.to];
    cell.focus();
  }

  frame.addEventListener("click", (event) => {
    const cell = event.target.closest("td[data-from]");
    if (!cell) return;
    focus(cell);
    choose(cell.dataset.from, cell.dataset.to);
  });
  frame.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td[data-from]");
    if (!cell) return;
    const line = [...cell.parentElement.querySelectorAll("td[data-from]")];
    if (KEYS[event.key]) focus(move(cell, KEYS[event.key]));
    else if (event.key === "Home") focus(line[0]);
    else if (event.key === "End") focus(line[line.length - 1]);
    else if (event.key === "Enter" || event.key === " ") choose(cell.dataset.from, cell.dataset.to);
    else return;
    event.preventDefault();
  });

  return (state, chosen) => {
    build(state);
    const names = new Map(state.parties.map((party) => [party.id, party.name]));
    const waits = new Map(state.nodes.filter((node) => node.ring === "waiting").map((node) => [node.party, node.reason]));
    const cells = new Map(state.cells.map((cell) => [`${cell.from}\n${cell.to}`, cell]));
    for (const element of frame.querySelectorAll("td[data-from]")) {
      const { from, to } = element.dataset;
      const note = waits.has(from) ? `${names.get(from)} ${waits.get(from)}.` : "Nobody measures this.";
      const none = { from, to, state: "no-data", note };
      show(element, cells.get(`${from}\n${to}`) || none, names);
      element.setAttribute("aria-selected", String(Boolean(chosen) && chosen[0] === from && chosen[1] === to));
    }
  };
}

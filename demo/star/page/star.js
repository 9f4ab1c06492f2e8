// Follows the collector's events and shows what they say; it judges nothing.

import { byId, put } from "./dom.js";
import { createMatrix } from "./matrix.js";
import { createNetwork } from "./network.js";
import { createTimeline } from "./timeline.js";
import { createWhy } from "./why.js";

const OLD_AFTER = 3000;
const AGAIN_AFTER = 1000;
const LOUD = ["LEAK", "BROKEN"];

let state = null;
let heard = performance.now();
let heardAt = new Date();
let full = false;

const why = createWhy();
const showMatrix = createMatrix(choose);
const showNetwork = createNetwork(choose);
const showTimeline = createTimeline();

function choose(from, to) {
  if (!state) return;
  why.choose([from, to], state);
  showMatrix(state, why.chosen);
}

function show() {
  showMatrix(state, why.chosen);
  showNetwork(state);
  showTimeline(state.timeline);
  why.show(state);
  summarize();
  byId("problem").hidden = !state.problem;
  put(byId("problem"), state.problem);
}

function summarize() {
  const counts = new Map();
  for (const cell of state.cells) counts.set(cell.state, (counts.get(cell.state) || 0) + 1);
  const loud = LOUD.filter((name) => counts.has(name)).map((name) => `${counts.get(name)} ${name}`);
  const fine = (counts.get("ok-allowed") || 0) + (counts.get("ok-denied") || 0);
  const settling = counts.get("settling") || 0;
  const measured = state.cells.length - (counts.get("no-data") || 0);
  let [level, text] = ["ok", `All ${fine} pairs are as they should be`];
  if (loud.length) [level, text] = ["loud", loud.join(" · ")];
  else if (settling) [level, text] = ["settling", `${settling} pair${settling > 1 ? "s" : ""} settling`];
  else if (measured === 0) [level, text] = ["none", "Nothing is measured yet"];
  else if (fine < measured || !fine) [level, text] = ["none", `${counts.get("reached") || 0} of ${measured} pairs reached${waitingWords()}`];
  else if (fine < state.cells.length) text = `${fine} pairs are as they should be, ${state.cells.length - fine} without data`;
  byId("summary").dataset.level = level;
  put(byId("summary"), text);
  document.title = loud.length ? `${loud.join(", ")} - Star` : "Star";
}

function waitingWords() {
  const count = state.nodes.filter((node) => node.ring === "waiting").length;
  return count ? ` · ${count} task${count > 1 ? "s wait" : " waits"} for a host` : "";
}

function connect() {
  const events = new EventSource("/events");
  const hear = () => {
    heard = performance.now();
    heardAt = new Date();
    full = false;
    checkAge();
  };
  events.addEventListener("state", (event) => {
    state = JSON.parse(event.data);
    hear();
    show();
  });
  events.addEventListener("beat", hear);
  events.addEventListener("full", () => {
    full = true;
  });
  // The browser gives up by itself where something else than events answers.
  events.addEventListener("error", () => {
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(connect, AGAIN_AFTER);
  });
}

function checkAge() {
  const age = performance.now() - heard;
  const old = age > OLD_AFTER;
  document.body.classList.toggle("old", old);
  byId("stale").hidden = !old;
  byId("live").dataset.live = old || !state ? "no" : "yes";
  put(byId("live-word"), old ? "not live" : state ? "live" : "connecting");
  if (!old) return;
  const reason = full ? "too many pages are open" : "the collector does not answer";
  put(byId("stale"), `${state ? "What is shown is old: " : ""}no news since ${heardAt.toTimeString().slice(0, 8)}, ${reason}.`);
}

setInterval(checkAge, 250);
showTimeline([]);
why.show({ cells: [], parties: [] });
connect();

// The list of runs: asked for again every 2 s while it is looked at; sorted and filtered here.

import { byId, element, say } from "./parts.js";
import { follow, knowProcesses, press } from "./stop.js";
import { bytes, count, duration, metricValue, metricWords, moment, part } from "./words.js";
import "./view.js";

const EVERY_MS = 2000;
const ALIVE = ["running", "paused", "stopping", "frozen"];
const SHOWN = 2000;
const LONG_ID = /^([0-9a-f]{8})[0-9a-f]{16,}$/;  // of a chip that has no name
const columns = {
  state: { title: "State", value: (run) => ALIVE.concat("crashed", "damaged", "failed", "stopped", "done").indexOf(run.state) },
  name: { title: "Run", value: (run) => run.id },
  began: { title: "Began", value: (run) => run.time ?? "", text: (run) => moment(run.time) },
  what: { title: "Experiment, rule", value: (run) => `${run.experiment ?? ""} ${run.rule ?? ""}`, text: what },
  bench: { title: "Bench, chip", value: (run) => `${run.bench ?? ""} ${run.chip ?? ""}`, text: bench },
  step: { title: "Steps", value: (run) => part(run.step, run.steps), text: steps },
  metric: { title: "Metric", value: (run) => run.metric?.value ?? -Infinity, text: metric },
  writes: { title: "Writes", value: (run) => run.writes ?? -1, text: (run) => count(run.writes) },
  wall: { title: "Time", value: (run) => run.wall_s ?? -1, text: (run) => duration(run.wall_s) },
  disk: { title: "Disk", value: (run) => run.disk_bytes ?? -1, text: (run) => bytes(run.disk_bytes) },
};
const NUMBERS = ["step", "metric", "writes", "wall", "disk"];
const rows = new Map();
let runs = [];
let order = { by: null, down: false };  // at first: those at work, then the newest

function what({ experiment, rule, kind }) {
  return [experiment ?? kind, rule].filter(Boolean).join(", ");
}

function bench(run) {
  return [run.bench, run.chip?.replace(LONG_ID, "$1…")].filter(Boolean).join(", ");
}

function steps({ step, steps: total }) {
  return total ? `${count(step)} / ${count(total)}` : count(step);
}

function metric({ metric: found }) {
  return found && found.value !== null ? `${metricWords(found.name)[0]} ${metricValue(found.value, found.name)}` : "";
}

async function ask() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/api/runs", { cache: "no-store" });
    const told = await answer.json();
    if (!answer.ok) return lost(told.error);
    runs = told.runs;
    knowProcesses(runs.filter((run) => ALIVE.includes(run.state) && run.pid).map((run) => run.pid));
    byId("lost").hidden = true;
    document.body.classList.remove("stale");
    show();
  } catch (failure) {
    lost(`The page's server was not reached (${failure.message}). What stands here is old. The runs do not depend on this page.`);
  }
}

function lost(text) {
  byId("lost").hidden = false;
  document.body.classList.add("stale");
  say(byId("lost-text"), text);
}

function show() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const found = runs.filter((run) => !wanted ||
    [run.id, run.name, run.state, run.experiment, run.rule, run.bench, run.chip].join(" ").toLowerCase().includes(wanted));
  found.sort(compare);
  const alive = runs.filter((run) => ALIVE.includes(run.state)).length;
  say(byId("found"), `${count(found.length)} of ${count(runs.length)} ${runs.length === 1 ? "run" : "runs"}, ${count(alive)} at work` +
    `${found.length > SHOWN ? `; the first ${count(SHOWN)} are shown` : ""}`);
  document.title = `${alive ? `${alive} at work – ` : ""}runs`;
  byId("none").hidden = runs.length > 0;
  const body = byId("rows");
  const shown = found.slice(0, SHOWN).map(rowOf);
  for (const [id, row] of rows) if (!shown.includes(row) && !runs.some((run) => run.id === id)) rows.delete(id);
  if (shown.length !== body.children.length || shown.some((row, index) => body.children[index] !== row)) body.replaceChildren(...shown);
}

function compare(one, other) {
  const { value } = columns[order.by] ?? { value: (run) => (ALIVE.includes(run.state) ? 0 : 1) };
  const [a, b] = [value(one), value(other)];
  const found = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  return (order.down ? -found : found) || (other.time ?? "").localeCompare(one.time ?? "");
}

function rowOf(run) {
  if (!rows.has(run.id)) rows.set(run.id, newRow(run));
  const row = rows.get(run.id);
  row.dataset.state = run.state;
  say(row.querySelector(".badge"), run.state);
  row.querySelector(".badge").dataset.state = run.state;
  for (const [key, { text }] of Object.entries(columns)) if (text) say(row.querySelector(`.${key}`), text(run));
  row.querySelector(".stop-one").hidden = !ALIVE.includes(run.state);
  const end = row.querySelector(".end");
  end.hidden = !run.stop;
  say(end, run.stop?.text ?? "");
  return row;
}

function newRow(run) {
  const path = `/run/${run.url}`;
  const button = element("button", { type: "button", className: "stop-one", ariaLabel: `Stop ${run.id}` }, "Stop");
  button.addEventListener("click", () => follow(press(`/api${path}/stop`)).then(ask));
  const cells = Object.entries(columns).map(([key, { title }]) => {
    const cell = element(key === "name" ? "th" : "td", { className: `${key}${NUMBERS.includes(key) ? " number" : ""}`, "data-title": title });
    if (key === "name") cell.setAttribute("scope", "row");
    return cell;
  });
  cells[0].append(element("span", { className: "badge" }));
  cells[1].append(element("a", { href: path }, run.id), element("small", { className: "end" }));
  return element("tr", {}, ...cells, element("td", { className: "act" }, button));
}

function makeHead() {
  byId("head").append(...Object.entries(columns).map(([key, { title }]) => {
    const button = element("button", { type: "button" }, title);
    const cell = element("th", { scope: "col", className: NUMBERS.includes(key) ? "number" : "" }, button);
    button.addEventListener("click", () => {
      order = { by: key, down: order.by === key ? !order.down : NUMBERS.includes(key) };
      for (const other of byId("head").children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      show();
    });
    return cell;
  }), element("th", { scope: "col" }, element("span", { className: "unseen" }, "Stop")));
}

makeHead();
byId("filter").addEventListener("input", show);
document.addEventListener("visibilitychange", ask);
setInterval(ask, EVERY_MS);
ask();

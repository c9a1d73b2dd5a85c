// The page of one run: the story so far comes over its event stream, then the news.

import { Curves, Histogram } from "./curves.js";
import { CellMap, QUANTITIES } from "./maps.js";
import * as panels from "./panels.js";
import { byId, say } from "./parts.js";
import { knowProcesses, tellPhase } from "./stop.js";
import { Stream } from "./stream.js";
import { count, duration, inUnit, known, metricValue, metricWords, number } from "./words.js";
import "./view.js";

const base = `/api${location.pathname}`;
const POINTS = 4000;  // the server thins to 2,000; this is where the page thins itself
const COLUMNS = ["step", "loss", "metric", "writes", "pulses", "energy_j"];  // writes, pulses: of a step; energy: so far
const STATES = {
  running: "running", paused: "paused", stopping: "stopping", frozen: "frozen", done: "done", stopped: "stopped",
  failed: "failed", crashed: "crashed", damaged: "damaged",
};

let story = emptyStory();
let run = {};
let state = {};
let stateHeard = performance.now();
let charts = null;
const maps = new Map();

function emptyStory() {
  return { ...Object.fromEntries(COLUMNS.map((name) => [name, []])), share: {} };
}

async function start() {
  const answer = await fetch(base, { cache: "no-store" });
  run = await answer.json();
  if (!answer.ok) return say(byId("name"), run.error);
  say(byId("name"), run.id);
  document.body.dataset.kind = run.kind;
  if (run.kind === "calibrate") say(byId("step-name"), "Measurements done");
  panels.facts(run);
  charts = makeCharts();
  new Stream(`${base}/events`, (name, data) => handlers[name](data), showLink);
  for (const order of ["pause", "continue"]) byId(order).addEventListener("click", () => command(order));
  setInterval(showSilence, 1000);
  return undefined;
}

function makeCharts() {
  const host = byId("curves");
  return {
    loss: new Curves(host, "Loss"),
    metric: new Curves(host, "Metric", { marks: true }),
    share: new Curves(host, "Share of weights written", { unit: "%" }),
    pulses: new Curves(host, "Pulses and cell writes of a step", { axis: "number", secondary: true }),
    energy: new Curves(host, "Energy", { unit: "J", total: true, secondary: true }),
    error: new Histogram(host, "Write error", { unit: "S" }),
  };
}

const handlers = {
  // A new connection tells the whole story again.
  opened() {
    story = emptyStory();
  },
  state(news) {
    state = news;
    stateHeard = performance.now();
    knowProcesses(news.pid ? [news.pid] : []);
    showState();
  },
  metrics({ columns, replace }) {
    if (replace) story = emptyStory();
    append(columns);
    showStory();
  },
  map(news) {
    mapOf(news).changed();
  },
  histogram({ edges, counts }) {
    charts.error.set(edges, counts);
  },
  statuses: panels.statuses,
  events({ items, replace }) {
    if (replace) panels.forgetHappenings();
    panels.happenings(items);
  },
  link: panels.link,
  examples: panels.examples,
  calibration: panels.calibration,
  stop: tellPhase,
};

function append(columns) {
  const before = story.step.length;
  const added = columns.step.length;
  for (const name of COLUMNS) story[name].push(...(columns[name] ?? Array(added).fill(null)));
  for (const [layer, values] of Object.entries(columns.share ?? {})) {
    (story.share[layer] ??= Array(before).fill(null)).push(...values);
  }
  if (story.step.length > POINTS) thin();
}

// Every second point goes, but none that carries an evaluation.
function thin() {
  const kept = story.step.map((_, index) => index).filter((index) => index % 2 === 0 || known(story.metric[index]));
  const pick = (values) => kept.map((index) => values[index] ?? null);
  story = {
    ...Object.fromEntries(COLUMNS.map((name) => [name, pick(story[name])])),
    share: Object.fromEntries(Object.entries(story.share).map(([layer, values]) => [layer, pick(values)])),
  };
}

function showStory() {
  const { step, loss, metric, writes, pulses, energy_j, share } = story;
  charts.loss.set(step, { loss });
  charts.metric.set(step, { metric });
  charts.share.set(step, share);
  charts.pulses.set(step, { pulses, "cell writes": writes });
  charts.energy.set(step, { energy: energy_j });
}

function showState() {
  const badge = byId("state");
  badge.dataset.state = state.state;
  say(badge, STATES[state.state] ?? state.state);
  panels.progress(state.step, state.steps, state.state);
  panels.tile("loss", number(state.loss));
  const [title, unit] = metricWords(state.metric?.name);
  charts.metric.name(title, unit);
  say(byId("metric-name"), title);
  panels.tile("metric", metricValue(state.metric?.value, state.metric?.name));
  panels.tile("writes", count(state.writes));
  panels.tile("pulses", count(state.pulses));
  panels.tile("energy", inUnit(state.energy_j, "J"));
  panels.tile("wall", duration(state.wall_s));
  panels.tile("left", duration(state.bench_time_left_s));
  say(byId("note"), state.note ?? "");
  byId("note").hidden = !state.note;
  const alive = ["running", "frozen", "stopping"].includes(state.state);
  byId("pause").hidden = !alive || run.kind === "calibrate";
  byId("continue").hidden = state.state !== "paused";
  showSilence();
}

function showSilence() {
  if (!known(state.since_s)) return;
  const silent_s = state.since_s + (performance.now() - stateHeard) / 1000;
  say(byId("since"), `last line ${duration(silent_s < 1 ? 0 : silent_s)} ago`.replace("last line 0 s ago", "last line now"));
}

function mapOf({ array, quantity, rows, cols }) {
  const key = `${quantity} ${array}`;
  if (!maps.has(key)) {
    const host = byId(`maps-${quantity}`);
    byId(`maps-${quantity}-panel`).hidden = false;
    if (!host.childElementCount) say(byId(`maps-${quantity}-title`), QUANTITIES[quantity].title);
    maps.set(key, new CellMap(host, base, { array, quantity, rows, cols, window_S: run.window_S }));
  }
  return maps.get(key);
}

function showLink(up, quiet_s) {
  const banner = byId("lost");
  banner.hidden = up;
  document.body.classList.toggle("stale", !up);
  if (!up) {
    say(byId("lost-text"), `No word from the page's server for ${duration(quiet_s)}. What stands here is old. ` +
      "The run does not depend on this page and may go on.");
  }
}

async function command(order) {
  const told = byId("told");
  try {
    const answer = await fetch(`${base}/${order}`, { method: "POST", headers: { "X-Eapu": "1" } });
    const { text, error } = await answer.json();
    say(told, text ?? error);
  } catch (failure) {
    say(told, `The page's server was not reached (${failure.message}).`);
  }
}

byId("charts-missing").hidden = typeof Bokeh !== "undefined";
start();

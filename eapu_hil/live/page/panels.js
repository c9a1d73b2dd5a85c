// The parts of a run's page that are text: tiles, counts, events, the link, example images, calibration.

import { byId, element, say, table } from "./parts.js";
import { count, duration, heading, inUnit, known, moment, NONE, number, part } from "./words.js";

const EVENTS_KEPT = 500;
const KINDS = { limit: "limit refused", fault: "fault", reconnect: "reconnected", log: "log" };

export function tile(id, value) {
  say(byId(id), value);
}

export function progress(step, steps, state) {
  const bar = byId("progress");
  bar.hidden = !steps;
  bar.value = part(step, steps);
  bar.setAttribute("aria-label", `${count(step)} of ${count(steps)} steps`);
  tile("step", steps ? `${count(step)} / ${count(steps)}` : count(step));
  document.title = `${steps ? `${Math.floor(100 * part(step, steps))} % ` : ""}${state} – ${byId("name").textContent}`;
}

export function statuses(counts) {
  const total = Object.values(counts).reduce((sum, value) => sum + value, 0);
  byId("statuses-panel").hidden = !total;
  byId("statuses").replaceChildren(table(["status", "requests", "share"], Object.entries(counts).map(([name, value]) => [
    name, count(value), total ? inUnit((100 * value) / total, "%") : NONE,
  ])));
}

export function happenings(items) {
  const list = byId("happenings");
  byId("happenings-panel").hidden = false;
  for (const { time_s, kind, text } of items) {
    const time = new Date(time_s * 1000);
    list.prepend(element("li", { className: kind in KINDS ? kind : "log" },
      element("time", { dateTime: time.toISOString() }, time.toLocaleTimeString("en-GB")),
      element("b", {}, KINDS[kind] ?? kind), element("span", {}, text)));
  }
  while (list.children.length > EVENTS_KEPT) list.lastChild.remove();
  byId("no-happenings").hidden = list.children.length > 0;
}

export function forgetHappenings() {
  byId("happenings").replaceChildren();
}

export function link(counters) {
  byId("link-panel").hidden = false;
  byId("link").replaceChildren(...Object.entries(counters).map(([name, value]) => element("div", {},
    element("dt", {}, heading(name.replace(/_s$/, ""))),
    element("dd", {}, name.endsWith("_s") ? inUnit(value, "s") : count(value)))));
}

export function examples({ step, images, captions }) {
  byId("examples-panel").hidden = !images.length;
  say(byId("examples-step"), `At the evaluation after step ${count(step)}.`);
  byId("examples").replaceChildren(...images.map((url, index) => {
    const caption = captions[index] ?? `Example ${index + 1}`;
    const picture = element("img", { src: url, alt: `Example image: ${caption}`, loading: "lazy", decoding: "async" });
    return element("figure", {}, element("a", { href: url }, picture), element("figcaption", {}, caption));
  }));
}

export function calibration({ measurement, done, total, time_left_s, figure_url }) {
  byId("calibration-panel").hidden = false;
  const left = time_left_s === null || time_left_s === undefined ? "" : `, ${duration(time_left_s)} left`;
  const share = `${Math.floor(100 * part(done, total))} %`;
  say(byId("calibration-text"), measurement ? `${measurement}: ${share}${left}` : share);
  const bar = byId("calibration-bar");
  bar.value = part(done, total);
  bar.setAttribute("aria-label", share);
  const figure = byId("calibration-figure");
  figure.hidden = !figure_url;
  if (figure_url && figure.getAttribute("src") !== figure_url) {
    figure.src = figure_url;
    figure.alt = "The newest figure of this calibration";
  }
}

export function facts(run) {
  const layers = run.layers?.map(({ name, weights }) => `${name} (${count(weights)} weights)`).join(", ");
  const arrays = run.arrays?.map(({ rows, cols }) => `${rows} × ${cols}`);
  const window = run.window_S?.every(known) ? `${inUnit(run.window_S[0], "S")} to ${inUnit(run.window_S[1], "S")}` : null;
  const told = {
    Name: run.name, Began: moment(run.time), Task: run.task, Rule: run.rule, Bench: run.bench, Seed: run.seed, Layers: layers,
    Arrays: arrays?.length ? `${arrays.length} (${[...new Set(arrays)].join(", ")} cells)` : null, Window: window,
  };
  byId("facts").replaceChildren(...Object.entries(told).filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, typeof value === "number" ? number(value) : String(value)))));
}

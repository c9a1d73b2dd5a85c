// Curves and histograms, drawn by Bokeh; each with its summary in words and its numbers as a table.

import { Drawn } from "./drawing.js";
import { element, foldedTable, say, table } from "./parts.js";
import { inUnit, isPhysical, known, number, prefixOf } from "./words.js";

const EVERY_MS = 1000;
const ROWS = 24;  // of the table beside a curve
const DASHES = ["solid", "dashed", "dotted", "dotdash", "dashdot"];
const canDraw = typeof Bokeh !== "undefined";  // without it there are still the words and the tables
const dark = matchMedia("(prefers-color-scheme: dark)");

// A figure with a heading, the plot, its legend, its summary and its table. `plot` is where the chart is put.
function frame(host, title, makeTable) {
  const id = `chart-${title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
  const summary = element("p", { className: "summary", id: `${id}-summary` });
  const plot = element("div", { className: "plot", role: "img", "aria-labelledby": id, "aria-describedby": summary.id });
  const legend = element("ul", { className: "legend" });
  const name = element("h3", { id }, title);
  const figure = element("figure", { className: "chart", hidden: true },
    element("figcaption", {}, name, summary), legend, plot, foldedTable("As a table", makeTable));
  host.append(figure);
  return { figure, plot, legend, summary, title: name };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function seriesColour(index) {
  return colour(`series-${(index % 6) + 1}`);
}

// A Bokeh figure in the page's colours; they follow the system's light and dark.
function bokehFigure(options) {
  const figure = Bokeh.Plotting.figure({
    sizing_mode: "stretch_both", toolbar_location: null, tools: [], output_backend: "canvas", min_border_right: 12, ...options,
  });
  const paint = () => {
    const size = `${Math.round(0.72 * parseFloat(getComputedStyle(document.documentElement).fontSize))}px`;
    const [ink, line, panel] = [colour("soft"), colour("line"), colour("panel")];
    figure.setv({ background_fill_color: panel, border_fill_color: panel, outline_line_color: null });
    for (const axis of figure.axes) {
      axis.setv({
        axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: line, major_tick_line_color: line,
        minor_tick_line_color: null, axis_label_text_font_size: size, major_label_text_font_size: size,
        axis_label_text_font_style: "normal",
      });
    }
    for (const grid of figure.grids) grid.setv({ grid_line_color: line });
  };
  paint();
  dark.addEventListener("change", paint);
  document.addEventListener("view-changed", paint);
  return figure;
}

// Curves over the steps. unit: of the values, and "%" shows shares 0 to 1 in per cent. marks: few points, far apart.
// total: a sum that grows. secondary: not in the large view. axis: what the axis is called where there is no unit.
export class Curves {
  #data = { step: [], series: {} };
  #source = null;
  #lines = 0;
  #axis = null;

  constructor(host, title, { unit = "", axis = "", marks = false, total = false, secondary = false } = {}) {
    Object.assign(this, { marks, total, axis });
    this.frame = frame(host, title, () => this.#table());
    this.name(title, unit);
    this.frame.figure.classList.toggle("secondary", secondary);
    this.drawn = new Drawn(this.frame.plot, () => this.#draw(), EVERY_MS);
  }

  name(title, unit) {
    if (title === this.title && unit === this.unit) return;
    Object.assign(this, { title, unit });
    this.told = unit === "%" ? 100 : 1;  // what numbers are multiplied by where they are written with their unit
    this.shown = this.told;  // the same on the axis, which has a prefix of its own
    say(this.frame.title, title);
    if (this.#axis) this.#axis.axis_label = unit || this.axis;
    this.#tell();
  }

  // step: ascending; series: name -> values, null where there is none.
  set(step, series) {
    this.#data = { step, series };
    this.frame.figure.hidden = !Object.values(series).some((values) => values.some(known));
    this.#tell();
  }

  #tell() {
    say(this.frame.summary, this.#summary());
    this.drawn?.changed();
  }

  #draw() {
    if (!canDraw) return;
    const { step, series } = this.#data;
    const names = Object.keys(series);
    if (names.length !== this.#lines) this.#make(names);
    if (isPhysical(this.unit)) this.#choosePrefix(series);
    this.#source.data = this.#measured(step, series, names);
  }

  #choosePrefix(series) {
    const size = Math.max(...Object.values(series).map((values) => values.reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), 0)));
    const [factor, prefix] = prefixOf(size);
    this.shown = 1 / factor;
    this.#axis.axis_label = `${prefix}${this.unit}`;
  }

  #columns(step, series, names) {
    const values = names.map((name) => series[name].map((value) => (known(value) ? value * this.shown : NaN)));
    return Object.fromEntries([["step", step], ...values.map((list, index) => [`y${index}`, list])]);
  }

  // Without the steps at which nothing was measured: a line goes from one evaluation to the next.
  #measured(step, series, names) {
    const kept = step.map((_, index) => index).filter((index) => names.some((name) => known(series[name][index])));
    const picked = Object.fromEntries(names.map((name) => [name, kept.map((index) => series[name][index])]));
    return this.#columns(kept.map((index) => step[index]), picked, names);
  }

  #make(names) {
    this.#lines = names.length;
    this.frame.plot.replaceChildren();
    this.#source = new Bokeh.ColumnDataSource({ data: this.#columns([], Object.fromEntries(names.map((name) => [name, []])), names) });
    const figure = bokehFigure({ x_axis_label: "step", y_axis_label: this.unit || this.axis });
    figure.xaxes[0].formatter = new Bokeh.NumeralTickFormatter({ format: "0,0" });
    if (!this.unit && names.length > 1) figure.yaxes[0].formatter = new Bokeh.NumeralTickFormatter({ format: "0,0.[000]" });
    this.#axis = figure.yaxes[0];
    names.forEach((_, index) => this.#line(figure, index));
    const tips = names.map((name, index) => [name.replaceAll(/[@$]/g, ""), `@y${index}{0.0000a}`]);
    figure.add_tools(new Bokeh.HoverTool({ tooltips: [["step", "@step{0,0}"], ...tips], mode: "vline", line_policy: "nearest" }));
    this.frame.legend.replaceChildren(...(names.length < 2 ? [] : names.map((name, index) => legendEntry(name, index))));
    Bokeh.Plotting.show(figure, this.frame.plot);
  }

  #line(figure, index) {
    const [x, y] = [{ field: "step" }, { field: `y${index}` }];
    const glyphs = [figure.line(x, y, { source: this.#source, line_width: 1.8, line_dash: DASHES[Math.floor(index / 6) % 5] })];
    if (this.marks) glyphs.push(figure.scatter(x, y, { source: this.#source, size: 5, line_color: null }));
    const paint = () => {
      glyphs[0].glyph.line_color = seriesColour(index);
      if (this.marks) glyphs[1].glyph.fill_color = seriesColour(index);
    };
    paint();
    dark.addEventListener("change", paint);
  }

  #summary() {
    const { step, series } = this.#data;
    const told = Object.entries(series).map(([name, values]) => {
      const seen = values.map((value, index) => [value, step[index]]).filter(([value]) => known(value));
      if (!seen.length) return "";
      const show = (value) => inUnit(value * this.told, this.unit);
      const [last, at] = seen.at(-1);
      if (Object.keys(series).length > 1) return `${name} ${show(last)}`;
      if (this.total) return `${show(last)} up to step ${number(at)}`;
      const low = seen.reduce((least, item) => (item[0] < least[0] ? item : least));
      const high = seen.reduce((most, item) => (item[0] > most[0] ? item : most));
      return `${show(last)} at step ${number(at)}; lowest ${show(low[0])} at ${number(low[1])}, highest ${show(high[0])} at ${number(high[1])}`;
    });
    return told.filter(Boolean).slice(0, 8).join("; ");
  }

  #table() {
    const { step, series } = this.#data;
    const names = Object.keys(series);
    const kept = step.map((_, index) => index).filter((index) => names.some((name) => known(series[name][index])));
    const pace = Math.max(1, Math.ceil(kept.length / ROWS));
    const rows = kept.filter((_, place) => place % pace === 0 || place === kept.length - 1);
    return table(["step", ...names], rows.map((index) => [
      number(step[index]), ...names.map((name) => inUnit(series[name][index] * this.told, this.unit)),
    ]));
  }
}

function legendEntry(name, index) {
  return element("li", { className: `series-${(index % 6) + 1}` }, element("span", { className: "key", "aria-hidden": "true" }), name);
}

// A histogram; edges: one more than counts.
export class Histogram {
  #data = { edges: [], counts: [] };
  #source = null;

  constructor(host, title, { unit }) {
    Object.assign(this, { title, unit });
    this.frame = frame(host, title, () => this.#table());
    this.drawn = new Drawn(this.frame.plot, () => this.#draw(), EVERY_MS);
  }

  set(allEdges, allCounts) {
    const [first, last] = [allCounts.findIndex(Boolean), allCounts.findLastIndex(Boolean)];
    const edges = allEdges.slice(Math.max(first - 1, 0), last + 3);  // with an empty one on either side
    const counts = allCounts.slice(Math.max(first - 1, 0), last + 2);
    this.#data = { edges, counts };
    this.frame.figure.hidden = !counts.some(Boolean);
    say(this.frame.summary, this.#summary());
    this.drawn.changed();
  }

  #draw() {
    if (!canDraw) return;
    const { edges, counts } = this.#data;
    if (!this.#source) this.#make();
    const scaled = edges.map((edge) => edge * 1e6);
    this.#source.data = { left: scaled.slice(0, -1), right: scaled.slice(1), top: counts };
  }

  #make() {
    this.#source = new Bokeh.ColumnDataSource({ data: { left: [], right: [], top: [] } });
    const figure = bokehFigure({ x_axis_label: `reading minus target (µ${this.unit})`, y_axis_label: "requests" });
    figure.yaxes[0].formatter = new Bokeh.NumeralTickFormatter({ format: "0,0" });
    figure.y_range.start = 0;
    const bars = figure.quad({ field: "left" }, { field: "right" }, { value: 0 }, { field: "top" }, { source: this.#source });
    const paint = () => bars.glyph.setv({ fill_color: seriesColour(0), line_color: colour("panel") });
    paint();
    dark.addEventListener("change", paint);
    figure.add_tools(new Bokeh.HoverTool({ tooltips: [[`µ${this.unit}`, "@left to @right"], ["requests", "@top{0,0}"]] }));
    Bokeh.Plotting.show(figure, this.frame.plot);
  }

  #summary() {
    const { edges, counts } = this.#data;
    const total = counts.reduce((sum, value) => sum + value, 0);
    if (!total) return "";
    const middle = counts.map((_, index) => (edges[index] + edges[index + 1]) / 2);
    const mean = counts.reduce((sum, value, index) => sum + value * middle[index], 0) / total;
    const spread = Math.sqrt(counts.reduce((sum, value, index) => sum + value * (middle[index] - mean) ** 2, 0) / total);
    return `${number(total)} requests; mean ${inUnit(Math.abs(mean) < spread / 1000 ? 0 : mean, this.unit)}, standard deviation ${inUnit(spread, this.unit)}`;
  }

  #table() {
    const { edges, counts } = this.#data;
    return table([`from (µ${this.unit})`, `to (µ${this.unit})`, "requests"], counts.map((value, index) => [
      number(edges[index] * 1e6), number(edges[index + 1] * 1e6), number(value),
    ]));
  }
}

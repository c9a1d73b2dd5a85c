// Maps of the arrays on a canvas of our own: one pixel a cell, enlarged by the style sheet.

import { Drawn } from "./drawing.js";
import { element, say } from "./parts.js";
import { count, inUnit, known } from "./words.js";

const EVERY_MS = 500;
// Both scales rise evenly in lightness, so they can be told apart without colour; unknown cells are in neither.
const SCALES = {
  g: ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"],
  wear: ["#fcfdbf", "#feca8d", "#fd9668", "#f1605d", "#cd4071", "#9e2f7f", "#721f81", "#440f76", "#180f3d", "#000004"],
};
const UNKNOWN = [150, 160, 172];
export const QUANTITIES = {
  g: { title: "Conductance", show: (value) => inUnit(value, "S"), mark: (value) => inUnit(value, "S") },
  wear: { title: "Wear in pulses", show: (value) => `${count(value)} pulses`, mark: count },
};

function ramp(stops) {
  const parsed = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const colours = new Uint32Array(256);
  for (let index = 0; index < 256; index += 1) {
    const place = (index / 255) * (parsed.length - 1);
    const low = Math.min(Math.floor(place), parsed.length - 2);
    const mixed = parsed[low].map((value, channel) => Math.round(value + (place - low) * (parsed[low + 1][channel] - value)));
    colours[index] = packed(mixed);
  }
  return colours;
}

function packed([red, green, blue]) {  // as ImageData lies in memory, least byte first
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

const RAMPS = Object.fromEntries(Object.entries(SCALES).map(([name, stops]) => [name, ramp(stops)]));

// Maps of one quantity that are to be drawn now come by one request and are drawn in one frame.
class Sheet {
  #maps = new Set();
  #asked = [];
  #busy = false;

  constructor(base, quantity) {
    Object.assign(this, { base, quantity });
  }

  ask(map) {
    if (!this.#maps.size) queueMicrotask(() => this.#fetch());
    this.#maps.add(map);
  }

  // One request at a time: news that come meanwhile are fetched after it.
  async #fetch() {
    if (this.#busy || !this.#maps.size) return;
    this.#busy = true;
    this.#asked = [...this.#maps];
    this.#maps.clear();
    try {
      const numbers = this.#asked.map((map) => map.array).join();
      const answer = await fetch(`${this.base}/map/${numbers}/${this.quantity}`, { cache: "no-store" });
      if (answer.ok) this.#draw(new Float32Array(await answer.arrayBuffer()));
    } catch (failure) {
      if (!(failure instanceof TypeError)) throw failure;  // the server is gone: the page says so at its top
    } finally {
      this.#busy = false;
    }
    this.#fetch();
  }

  #draw(values) {
    let start = 0;
    for (const map of this.#asked) {
      map.draw(values.subarray(start, start + map.size));
      start += map.size;
    }
  }
}

const sheets = new Map();

function sheetOf(base, quantity) {
  const key = `${base} ${quantity}`;
  if (!sheets.has(key)) sheets.set(key, new Sheet(base, quantity));
  return sheets.get(key);
}

// The map of one array and quantity. `base`: URL of the run's data; window_S: the scale of conductance.
export class CellMap {
  #values = null;
  #cursor = null;

  constructor(host, base, { array, quantity, rows, cols, window_S }) {
    Object.assign(this, { array, quantity, rows, cols, window_S, size: rows * cols });
    this.words = QUANTITIES[quantity];
    this.canvas = element("canvas", { width: cols, height: rows, tabIndex: 0, role: "img" });
    this.low = element("span");
    this.high = element("span");
    this.readout = element("output", {}, "\u00a0");
    this.canvas.setAttribute("aria-label", `${this.words.title} of array ${array}, drawn when it comes into view`);
    const bar = element("i", { "aria-hidden": "true" });
    bar.style.background = `linear-gradient(90deg, ${SCALES[quantity].join(", ")})`;
    const scale = element("div", { className: "scale" }, this.low, bar, this.high);
    this.unknown = element("span");
    host.append(element("figure", { className: "map" }, element("figcaption", {}, `Array ${array}`, this.unknown), this.canvas, scale, this.readout));
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.image = this.context.createImageData(cols, rows);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.drawn = new Drawn(this.canvas, () => sheetOf(base, quantity).ask(this), EVERY_MS, true);
    this.#listen();
  }

  changed() {
    this.drawn.changed();
  }

  // `values`: of all cells, row by row.
  draw(values) {
    if (values.length !== this.size) return;
    this.#values = values;
    const facts = this.#facts(values);
    const [low, high] = this.quantity === "g" && this.window_S?.every(known) ? this.window_S : [0, facts.high || 1e-6];
    const colours = RAMPS[this.quantity];
    const factor = 255 / (high - low || 1);
    const unknown = packed(UNKNOWN);
    let [first, last] = [values.length, -1];
    for (let cell = 0; cell < values.length; cell += 1) {
      const value = values[cell];
      const colour = value !== value ? unknown : colours[Math.min(255, Math.max(0, Math.round((value - low) * factor)))];
      if (this.pixels[cell] === colour) continue;
      this.pixels[cell] = colour;
      if (last < 0) first = cell;
      last = cell;
    }
    if (last >= 0) {
      const top = Math.floor(first / this.cols);
      this.context.putImageData(this.image, 0, 0, 0, top, this.cols, Math.floor(last / this.cols) + 1 - top);
    }
    say(this.low, this.words.mark(low));
    say(this.high, this.words.mark(high));
    this.#describe(facts);
    this.#read();
  }

  #facts(values) {
    let [low, high, sum, seen] = [Infinity, -Infinity, 0, 0];
    for (const value of values) {
      if (value !== value) continue;
      if (value < low) low = value;
      if (value > high) high = value;
      sum += value;
      seen += 1;
    }
    return { low: seen ? low : NaN, high: seen ? high : NaN, mean: sum / seen, unknown: values.length - seen };
  }

  #describe({ low, high, mean, unknown }) {
    const { title, show } = this.words;
    say(this.unknown, unknown ? `; grey: ${count(unknown)} not known` : "");
    const rest = unknown ? `, ${count(unknown)} cells not known (grey)` : "";
    const label = `${title} of array ${this.array}, ${this.rows} rows, ${this.cols} columns: lowest ${show(low)}, ` +
      `mean ${show(mean)}, highest ${show(high)}${rest}. The arrow keys go from cell to cell.`;
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
  }

  #listen() {
    this.canvas.addEventListener("pointermove", (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.#move(Math.floor(((event.clientY - box.top) / box.height) * this.rows),
        Math.floor(((event.clientX - box.left) / box.width) * this.cols));
    });
    this.canvas.addEventListener("pointerleave", () => this.#move(null));
    this.canvas.addEventListener("focus", () => this.#cursor ?? this.#move(0, 0));
    this.canvas.addEventListener("blur", () => this.#move(null));
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [row, col] = this.#cursor ?? [0, 0];
      this.#move(row + step[0], col + step[1]);
    });
  }

  #move(row, col) {
    this.#cursor = row === null ? null
      : [Math.min(Math.max(row, 0), this.rows - 1), Math.min(Math.max(col, 0), this.cols - 1)];
    this.#read();
  }

  #read() {
    if (!this.#cursor || !this.#values) return say(this.readout, "\u00a0");
    const [row, col] = this.#cursor;
    const value = this.#values[row * this.cols + col];
    return say(this.readout, `row ${row}, column ${col}: ${value !== value ? "not known" : this.words.show(value)}`);
  }
}

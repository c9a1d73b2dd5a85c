// Numbers as people read them: SI prefixes, thousands with commas, durations in two parts.

const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];
const METRICS = { psnr_db: ["PSNR", "dB"], accuracy: ["Accuracy", "%"], r2: ["R²", ""] };
export const NONE = "–";

export function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

export function count(value) {
  return known(value) ? Math.round(value).toLocaleString("en-US") : NONE;
}

// Four figures that matter; powers of ten only where a plain number would be long.
export function number(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2).replace("e", " · 10^").replace("+", "");
  if (size >= 1e4) return count(value);
  return String(Number(value.toPrecision(4)));
}

// Whether a unit takes prefixes.
export function isPhysical(unit) {
  return ["S", "J", "s", "V", "A"].includes(unit);
}

// The prefix that a size is written with: its factor and its letter.
export function prefixOf(size) {
  if (!size) return [1, ""];
  return PREFIXES.find(([least]) => size >= least) ?? PREFIXES.at(-1);
}

export function inUnit(value, unit) {
  if (!known(value)) return NONE;
  if (!unit) return number(value);
  if (unit === "%") return `${number(value)} %`;
  if (!isPhysical(unit)) return `${number(value)} ${unit}`;
  const [factor, prefix] = prefixOf(Math.abs(value));
  return `${Number((value / factor).toPrecision(3))} ${prefix}${unit}`;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  const [factor, name] = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]].find(([least]) => value >= least) ?? [1, "B"];
  return `${Number((value / factor).toPrecision(3))} ${name}`;
}

export function duration(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 1) return inUnit(seconds, "s");
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

// What the bar of a thing at work is filled to, 0 to 1.
export function part(done, total) {
  return known(done) && known(total) && total > 0 ? Math.min(done / total, 1) : 0;
}

// "write_error" as a heading: "Write error".
export function heading(name) {
  const text = String(name).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// The metric of a task: what it is called and its unit; with "%" a share from 0 to 1 is shown in per cent.
export function metricWords(name) {
  if (!name) return ["Metric", ""];
  if (METRICS[name]) return METRICS[name];
  return name.endsWith("_db") ? [heading(name.slice(0, -3)), "dB"] : [heading(name), ""];
}

export function metricValue(value, name) {
  const unit = metricWords(name)[1];
  return inUnit(unit === "%" && known(value) ? 100 * value : value, unit);
}

// A time as the clock on this screen's wall shows it.
export function moment(iso) {
  if (!iso) return "";
  const time = new Date(iso);
  const two = (value) => String(value).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

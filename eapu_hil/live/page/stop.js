// The emergency stop. It is a plain form, so it works before this module is loaded and after any other has died;
// this module only spares the change of page and tells how the stop ends. It never disables the button and asks nothing.

import { byId, say } from "./parts.js";

const SILENT_MS = 3000;  // then the page says how to stop at the machine
const form = byId("stop");
const outcome = byId("outcome");
const target = location.pathname.startsWith("/run/") ? `/api${location.pathname}/stop` : "/api/stop";
let processes = [];
let pressed = 0;

form.addEventListener("submit", (event) => {
  const sent = press(target);
  event.preventDefault();  // only now: where fetch itself fails, the form is sent
  follow(sent);
});

// Sends the stop and lets go of the connections that this page holds, for which the stop would have to wait.
export function press(path) {
  const sent = fetch(path, {
    method: "POST", headers: { "X-Eapu": "1" }, keepalive: true, priority: "high", cache: "no-store",
  });
  document.dispatchEvent(new Event("stop-pressed"));
  return sent;
}

export async function follow(sent) {
  const turn = ++pressed;
  const since = performance.now();
  tell("sent", "STOP sent.");
  const silent = setTimeout(() => turn === pressed && tell("trouble", `No answer for 3 s. ${byHand()}`), SILENT_MS);
  try {
    const answer = await sent;
    const { text, error } = await answer.json();
    const after_ms = Math.round(performance.now() - since);
    const failed = answer.status >= 500 ? ` ${byHand()}` : "";
    tell(failed ? "trouble" : "sent", `${text ?? error} (answered after ${after_ms} ms)${failed}`);
  } catch (failure) {
    tell("trouble", `The page's server was not reached (${failure.message}). ${byHand()}`);
  } finally {
    clearTimeout(silent);
    document.dispatchEvent(new Event("stop-answered"));
  }
}

// How a stop went on: the `stop` events of a run.
export function tellPhase({ phase, text }) {
  tell(phase === "grounded" ? "grounded" : phase === "unknown" ? "trouble" : "sent", text);
}

// The processes that this page's stop is for, to be named where it cannot be sent.
export function knowProcesses(numbers) {
  processes = numbers;
}

function byHand() {
  const how = "Stop it at the machine: Ctrl-C in its terminal";
  return processes.length ? `${how}, or kill ${processes.join(" ")}.` : `${how}.`;
}

function tell(mood, text) {
  outcome.hidden = false;
  outcome.dataset.mood = mood;
  say(outcome, text);
}

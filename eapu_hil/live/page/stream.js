// The event stream of a run. A browser opens at most six connections to a host, over all its tabs, and each stream holds
// one: so a hidden tab closes its own, and so does a pressed stop, which must not wait for a connection.

const EVENTS = ["state", "metrics", "map", "histogram", "statuses", "events", "link", "examples", "calibration", "stop"];
const QUIET_MS = 6000;  // the server speaks every 2 s
const AGAIN_MS = 2000;

export class Stream {
  #source = null;
  #again = 0;
  #heard = performance.now();

  // onEvent(name, data); onLink(whether the server speaks, seconds since it last did)
  constructor(url, onEvent, onLink) {
    this.url = url;
    this.onEvent = onEvent;
    this.onLink = onLink;
    document.addEventListener("visibilitychange", () => document.hidden ? this.close() : this.open());
    document.addEventListener("stop-pressed", () => this.close());
    document.addEventListener("stop-answered", () => document.hidden || this.open());
    setInterval(() => this.#tell(), 1000);
    if (!document.hidden) this.open();
  }

  open() {
    this.close();
    this.#heard = performance.now();
    this.#source = new EventSource(this.url);
    for (const name of EVENTS) {
      this.#source.addEventListener(name, (event) => {
        this.#heard = performance.now();
        this.onEvent(name, JSON.parse(event.data));
      });
    }
    this.#source.addEventListener("open", () => {
      this.#heard = performance.now();
      this.onEvent("opened");
    });
    this.#source.addEventListener("error", () => {
      if (this.#source?.readyState === EventSource.CLOSED) this.#again = setTimeout(() => this.open(), AGAIN_MS);
    });
  }

  close() {
    clearTimeout(this.#again);
    this.#source?.close();
    this.#source = null;
  }

  #tell() {
    const quiet_ms = performance.now() - this.#heard;
    const down = this.#source !== null && this.#source.readyState !== EventSource.OPEN && quiet_ms > 1500;
    this.onLink(!down && (quiet_ms < QUIET_MS || document.hidden), quiet_ms / 1000);
  }
}

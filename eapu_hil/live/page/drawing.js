// Who draws when: only what is on the screen, one chart a frame, nothing while the page is scrolled.

const SCROLL_MS = 200;
const waiting = new Set();
let scrolled = -Infinity;
let asked = false;

addEventListener("scroll", () => { scrolled = performance.now(); }, { passive: true, capture: true });

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.drawn.seen = isIntersecting;
    if (isIntersecting) ask(target.drawn);
  }
}, { rootMargin: "100px" });

// Something that draws itself into an element when `changed()` was said, at most once in `every_ms`. `light`: several of
// them fit in a frame, and cost less in one than in a frame each.
export class Drawn {
  seen = false;
  #stale = false;
  #last = -Infinity;

  constructor(element, draw, every_ms, light = false) {
    Object.assign(this, { draw, every_ms, light });
    element.drawn = this;
    observer.observe(element);
  }

  changed() {
    this.#stale = true;
    ask(this);
  }

  due(now) {
    return this.seen && this.#stale && now - this.#last >= this.every_ms;
  }

  // With those that are due it draws as well if it would be due soon.
  soon(now) {
    return this.due(now + this.every_ms / 4);
  }

  get idle() {
    return !this.seen || !this.#stale;
  }

  run(now) {
    this.#stale = false;
    this.#last = now;
    this.draw();
  }
}

function ask(drawn) {
  waiting.add(drawn);
  if (asked) return;
  asked = true;
  requestAnimationFrame(turn);
}

function turn() {
  asked = false;
  const now = performance.now();
  const next = now - scrolled < SCROLL_MS ? undefined : [...waiting].find((drawn) => drawn.due(now));
  if (next?.light) for (const drawn of waiting) if (drawn.light && drawn.soon(now)) drawn.run(now);
  if (next && !next.light) next.run(now);
  for (const drawn of waiting) if (drawn.idle) waiting.delete(drawn);
  if (!waiting.size) return;
  asked = true;
  // Nothing is due: look again later, not in every frame.
  if (next) requestAnimationFrame(turn);
  else setTimeout(turn, 100);
}

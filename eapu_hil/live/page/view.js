// The large view, for a beamer or a wall: large type and only what is seen from afar. It stands in the address, so it can be kept as a bookmark.

import { byId } from "./parts.js";

const HASH = "#view=large";
const button = byId("large");

function show() {
  const on = location.hash === HASH;
  document.documentElement.classList.toggle("beamer", on);
  button.setAttribute("aria-pressed", String(on));
  document.dispatchEvent(new Event("view-changed"));
}

button.addEventListener("click", () => {
  history.replaceState(null, "", location.hash === HASH ? location.pathname : HASH);
  show();
});
addEventListener("hashchange", show);
show();

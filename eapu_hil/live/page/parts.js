// Elements with text in them. Text from outside is only ever set as text, so a name never becomes markup.

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

// Writes only what changed: a screen reader repeats what is written again.
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// `head`: names of columns; `rows`: lists of texts.
export function table(head, rows) {
  return element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))));
}

// A table that is made when it is opened, and made again only then.
export function foldedTable(title, make) {
  const folded = element("details", {}, element("summary", {}, title));
  folded.addEventListener("toggle", () => {
    folded.querySelector("table")?.remove();
    if (folded.open) folded.append(make());
  });
  return folded;
}

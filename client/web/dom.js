// Small helpers to build the page. Text always becomes text, never markup.

/** `make("p.said", "Hello", {title: "…"})`: an element with classes, text or children, and attributes. */
export function make(what, content = null, attributes = {}) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  if (Array.isArray(content)) element.append(...content.filter((child) => child !== null));
  else if (content !== null) element.textContent = content;
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

/** Sets text only where it differs, so that nothing is read aloud or laid out again in vain. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const byId = (id) => document.getElementById(id);

// Builds elements.  Text becomes text nodes, so that no value is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}

export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

// Replaces what `parent` shows, unless it would show the same: focus and selection stay.
export function show(parent, ...children) {
  const fresh = h("div", {}, ...children);
  if (fresh.innerHTML === parent.innerHTML) return;
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const key = focused && (focused.id || focused.getAttribute("data-key"));
  parent.replaceChildren(...fresh.childNodes);
  if (!key) return;
  const again = [...parent.querySelectorAll("[id], [data-key]")];
  again.find((one) => one.id === key || one.getAttribute("data-key") === key)?.focus({ preventScroll: true });
}

// Elements from names and texts. Foreign text only ever becomes a text node.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Text that fits; the whole of it is the element's title.
export function short(text, length) {
  return text.length > length ? text.slice(0, length - 1) + "…" : text;
}

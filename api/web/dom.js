/** Building elements. Text from the server only ever becomes text: nothing here, or elsewhere, parses HTML. */

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [attributes] `on…` functions become listeners; null, undefined and false are left out
 * @param {...(Node | string | null | undefined | false)} children strings become text
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child || child === "")));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make a decorative icon from the sprite.
 * @param {string} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/web/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/**
 * Make a button with an icon, words, or both; one without words needs a label.
 * @param {{icon?: string, text?: string, label?: string, class?: string, onclick: (event: Event) => void}} options
 * @returns {HTMLButtonElement}
 */
export function button(options) {
  return element(
    "button",
    {
      type: "button",
      class: options.class ?? "button",
      "aria-label": options.label,
      title: options.label,
      onclick: options.onclick,
    },
    options.icon && icon(options.icon),
    options.text && element("span", {}, options.text),
  );
}

/**
 * Find an element of index.html.
 * @template {HTMLElement} [Found=HTMLElement]
 * @param {string} id
 * @returns {Found}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return /** @type {Found} */ (found);
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let hiding;

/**
 * Say something in passing, on screen and to screen readers.
 * @param {string} text
 */
export function notify(text) {
  const notice = byId("notice");
  notice.textContent = text;
  notice.classList.add("shown");
  clearTimeout(hiding);
  hiding = setTimeout(() => notice.classList.remove("shown"), 5000);
}

/** The images most like the one shown large. */

import { ApiError, findSimilar } from "./api.js";
import { element } from "./dom.js";
import { here, hrefOf } from "./place.js";
import { nameOf, sentence } from "./words.js";

const COUNT = 12;

/**
 * Make the section and have it filled; it keeps the room its images will take, so that nothing jumps when they come.
 * @param {string} id of a searchable image
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function similarTo(id, signal) {
  const places = Array.from({ length: COUNT }, () => element("li"));
  const list = element("ul", {}, ...places);
  const all = element("a", { href: hrefOf({ similar: id }) }, "Show all");
  const section = element(
    "section",
    { class: "similar", "aria-busy": "true" },
    element("h3", {}, "Similar ", all),
    list,
  );
  void fill(section, list, id, signal);
  return section;
}

/**
 * @param {HTMLElement} section
 * @param {HTMLElement} list
 * @param {string} id
 * @param {AbortSignal} signal
 */
async function fill(section, list, id, signal) {
  try {
    const { results } = await findSimilar(id, { limit: COUNT }, signal);
    section.hidden = !results.length;
    list.replaceChildren(...results.map(line));
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    list.replaceWith(element("p", { class: "quiet", role: "alert" }, sentence(error.message)));
  }
  section.removeAttribute("aria-busy");
}

/** @param {import("./api.js").SearchPage["results"][number]} result */
function line({ score, image }) {
  const name = nameOf(image);
  const figure = score.toFixed(3);
  return element(
    "li",
    {},
    element(
      "a",
      { href: hrefOf({ ...here(), image: image.id }), title: `${name}, score ${figure}` },
      element("img", { src: image.links.thumbnail, alt: name, loading: "lazy" }),
      element("span", { class: "figure" }, figure),
    ),
  );
}

/** The whole collection, newest first. */

import { listImages } from "./api.js";
import { element, icon } from "./dom.js";
import { hrefOf } from "./place.js";

const PAGE = 60;

/**
 * @param {import("./place.js").Place} place
 * @param {{chooseFiles: () => void, chooseFolder: () => void}} actions offered while the collection is empty
 * @returns {import("./feed.js").View}
 */
export function galleryView({ status, category, tag }, actions) {
  const filtered = Boolean(status || category || tag);
  return {
    heading: [document.createTextNode("All pictures")],
    filters: ["status", "category", "tag"],
    live: !status || status === "created" || status === "pending",
    load: async (cursor, signal) => {
      const page = await listImages({ status, category, tag, cursor, limit: PAGE }, signal);
      return { items: page.images.map((image) => ({ image })), next: page.next_cursor };
    },
    empty: () => (filtered ? nothingMatches() : welcome(actions)),
  };
}

/** @returns {Node} */
export function nothingMatches() {
  return element(
    "div",
    { class: "empty" },
    icon("search"),
    element("h2", {}, "Nothing matches"),
    element("p", {}, "No picture meets these filters. ", element("a", { href: hrefOf({}) }, "Show all pictures")),
  );
}

/** @param {{chooseFiles: () => void, chooseFolder: () => void}} actions */
function welcome({ chooseFiles, chooseFolder }) {
  return element(
    "div",
    { class: "empty welcome" },
    icon("picture"),
    element("h2", {}, "Drop pictures here"),
    element("p", {}, "Add some, then find those that look alike, or that a sentence describes."),
    element(
      "p",
      { class: "actions" },
      element("button", { type: "button", class: "button primary", onclick: chooseFiles }, "Choose files"),
      element("button", { type: "button", class: "button", onclick: chooseFolder }, "Choose a folder"),
    ),
    element("p", { class: "quiet" }, "JPEG, PNG, WebP, GIF, AVIF, HEIC, TIFF and BMP. Pasting works too."),
  );
}

/** Searches: by a sentence, by an image of the collection, by a picture that is not kept. */

import { findSimilar, getImage, searchPicture, searchText } from "./api.js";
import { element, icon } from "./dom.js";
import { nothingMatches } from "./gallery.js";
import { hrefOf } from "./place.js";
import { nameOf } from "./words.js";

const PAGE = 48;
const PREVIEW = 96;

/** @type {Map<string, File>} pictures searched by, as long as the page lives: the address can't hold them */
const pictures = new Map();

/**
 * Keep a picture to search by.
 * @param {File} file
 * @returns {string} its key, for the `picture` of a place
 */
export function keepPicture(file) {
  const key = Date.now().toString(36); // new after a reload too, or the address would not change
  pictures.set(key, file);
  return key;
}

/** @param {import("./place.js").Place} place @returns {boolean} */
export const isSearch = ({ q, similar, picture }) => Boolean(q || similar || picture);

/**
 * @param {import("./place.js").Place} place
 * @returns {import("./feed.js").View}
 */
export function searchView(place) {
  const { q, similar, picture } = place;
  const file = pictures.get(picture);
  if (q)
    return view(
      [element("span", {}, "Results for ", element("q", {}, q))],
      (query, signal) => searchText({ q, ...query }, signal),
      place,
    );
  if (similar) return view(similarHeading(similar), (query, signal) => findSimilar(similar, query, signal), place);
  if (file) return view(pictureHeading(file), (query, signal) => searchPicture(file, query, signal), place);
  return forgotten();
}

/**
 * @param {Node[]} heading
 * @param {(query: import("./api.js").Query, signal: AbortSignal) => Promise<import("./api.js").SearchPage>} search
 * @param {import("./place.js").Place} place
 * @returns {import("./feed.js").View}
 */
function view(heading, search, { category, tag }) {
  return {
    heading,
    filters: ["category", "tag"],
    live: false,
    load: async (cursor, signal) => {
      const page = await search({ category, tag, cursor, limit: PAGE }, signal);
      return { items: page.results, next: page.next_cursor, model: page.model };
    },
    empty: () => (category || tag ? nothingMatches() : nothingYet()),
  };
}

/** @param {string} id @returns {Node[]} */
function similarHeading(id) {
  const name = element("span", {}, "this picture");
  getImage(id).then(
    (image) => (name.textContent = nameOf(image)),
    () => {}, // the list below tells what is wrong
  );
  const picture = element("img", { class: "preview", src: `/images/${encodeURIComponent(id)}/thumbnail`, alt: "" });
  picture.addEventListener("error", () => picture.remove(), { once: true });
  const link = element("a", { href: `#image=${encodeURIComponent(id)}`, class: "subject" }, picture, name);
  return [element("span", {}, "Similar to "), link];
}

/** @param {File} file @returns {Node[]} */
function pictureHeading(file) {
  // A canvas, not an <img>: a strict Content-Security-Policy allows no blob: addresses.
  const canvas = element("canvas", { class: "preview", width: PREVIEW, height: PREVIEW, "aria-hidden": "true" });
  createImageBitmap(file).then(
    (bitmap) => {
      const side = Math.min(bitmap.width, bitmap.height);
      const left = (bitmap.width - side) / 2;
      const top = (bitmap.height - side) / 2;
      canvas.getContext("2d")?.drawImage(bitmap, left, top, side, side, 0, 0, PREVIEW, PREVIEW);
      bitmap.close();
    },
    () => canvas.remove(), // a format the browser can't show; the service may read it all the same
  );
  return [
    element("span", {}, "Similar to "),
    element("span", { class: "subject" }, canvas, element("span", {}, file.name)),
  ];
}

/** @returns {Node} */
function nothingYet() {
  return element(
    "div",
    { class: "empty" },
    icon("search"),
    element("h2", {}, "Nothing to find yet"),
    element("p", {}, "There is no other searchable picture. ", element("a", { href: hrefOf({}) }, "Show all pictures")),
  );
}

/** @returns {import("./feed.js").View} what is shown after a reload */
function forgotten() {
  const advice = "A picture you search by is not kept. Choose it again, or drop it on the search field.";
  return {
    heading: [document.createTextNode("Search by picture")],
    filters: [],
    live: false,
    load: async () => ({ items: [], next: null }),
    empty: () =>
      element(
        "div",
        { class: "empty" },
        icon("camera"),
        element("h2", {}, "Choose the picture again"),
        element("p", {}, advice),
      ),
  };
}

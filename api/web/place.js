/**
 * Where one is: the address of the page holds the view, so that back, forward, reload and sharing work.
 *
 * @typedef {object} Place
 * @property {string} q text searched for
 * @property {string} similar id of the image whose like is sought
 * @property {string} picture key of a picture held in memory, see `search.js`
 * @property {string} status filter
 * @property {string} category filter
 * @property {string} tag filter
 * @property {string} image id of the image shown large
 */

const PARAMETERS = /** @type {const} */ (["q", "similar", "picture", "status", "category", "tag"]);
const IMAGE = "#image=";

/** @type {Place} */
export const HOME = { q: "", similar: "", picture: "", status: "", category: "", tag: "", image: "" };

/**
 * Read a place from an address.
 * @param {URL} url
 * @returns {Place}
 */
export function readPlace(url) {
  const place = { ...HOME };
  for (const name of PARAMETERS) place[name] = url.searchParams.get(name) ?? "";
  if (url.hash.startsWith(IMAGE)) place.image = decode(url.hash.slice(IMAGE.length));
  return place;
}

/** @returns {Place} */
export function here() {
  return readPlace(new URL(location.href));
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Name the list a place shows, whichever image is open above it.
 * @param {Place} place
 * @returns {string} its query, with "?" unless empty
 */
export function listOf(place) {
  const params = new URLSearchParams();
  for (const name of PARAMETERS) if (place[name]) params.set(name, place[name]);
  return params.size ? `?${params}` : "";
}

/**
 * Write a place as an address.
 * @param {Partial<Place>} given what is left out is empty
 * @returns {string}
 */
export function hrefOf(given) {
  const place = { ...HOME, ...given };
  return location.pathname + listOf(place) + (place.image ? IMAGE + encodeURIComponent(place.image) : "");
}

/**
 * Go to a place; the app hears of it by a `likeness:moved` event, `detail.same` telling that one was there already.
 *
 * A history entry that shows an image remembers how many entries lie between it and the list beneath, so that closing
 * is going back, however many images were looked at.
 * @param {Partial<Place>} place
 * @param {{replace?: boolean}} [options] replace: take the present entry's place in the history
 */
export function go(place, { replace = false } = {}) {
  const from = here();
  const depth = history.state?.depth;
  const next = { ...HOME, ...place };
  const same = hrefOf(next) === hrefOf(from);
  let state = null;
  if (next.image && replace) state = history.state;
  else if (next.image && !from.image) state = { depth: 1 };
  else if (next.image && depth) state = { depth: depth + 1 };
  if (replace) history.replaceState(state, "", hrefOf(next));
  else if (!same) history.pushState(state, "", hrefOf(next));
  dispatchEvent(new CustomEvent("likeness:moved", { detail: { same } }));
}

/** Leave the image shown large for the list beneath. */
export function leaveImage() {
  const depth = history.state?.depth;
  if (depth) history.go(-depth);
  else go({ ...here(), image: "" }, { replace: true });
}

/** Have plain clicks on links within the page move without loading it anew. */
export function interceptLinks() {
  addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.pathname !== location.pathname) return;
    event.preventDefault();
    go(readPlace(url));
  });
}

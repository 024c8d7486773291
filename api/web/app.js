/** The page: its parts, and what happens when one moves. */

import { retryDelay } from "./backoff.js";
import { byId, notify } from "./dom.js";
import { Detail } from "./detail.js";
import { Feed } from "./feed.js";
import { Filters } from "./filters.js";
import { galleryView } from "./gallery.js";
import { acceptFiles, maybePicture, onPicked } from "./intake.js";
import { go, here, interceptLinks, listOf } from "./place.js";
import { ReadinessWatch } from "./readiness.js";
import { isSearch, keepPicture, searchView } from "./search.js";
import { Uploads } from "./upload.js";
import { UploadPanel } from "./upload_panel.js";
import { Watcher } from "./watcher.js";

/** @typedef {import("./api.js").Image} Image */

const KEPT_FEEDS = 6;
const REFRESH_MS = 800;

const watcher = new Watcher();
const uploads = new Uploads(watcher);
const filters = new Filters();
const readiness = new ReadinessWatch();
const searchForm = byId("search");
const searchField = /** @type {HTMLInputElement} */ (byId("q"));

/** @type {Map<string, {feed: Feed, scroll: number}>} lists looked at lately, so that going back finds them as they were */
const kept = new Map();
/** @type {Feed | undefined} */
let feed;
let list = "none";

const detail = new Detail({
  find: (id) => feed?.find(id),
  neighbour: (id, step) => {
    const ids = feed?.ids ?? [];
    const at = ids.indexOf(id);
    return at < 0 ? undefined : ids[at + step];
  },
  changed: (image) => {
    updateAll(image);
    watcher.watch([image]);
    uploads.reopen(image.id, image.status);
  },
  left: (id) => feed?.focus(id),
  deleted: (id) => {
    for (const one of kept.values()) one.feed.remove(id);
    uploads.forget(id);
  },
});

/** @param {Partial<Image> & {id: string}} changes */
function updateAll(changes) {
  for (const one of kept.values()) one.feed.update(changes);
}

/** @param {import("./place.js").Place} place @returns {Feed} */
function openFeed(place) {
  const opened = new Feed(isSearch(place) ? searchView(place) : galleryView(place, actions));
  opened.addEventListener("page", (event) => {
    /** @type {import("./feed.js").Page} */
    const { items, model } = /** @type {CustomEvent} */ (event).detail;
    filters.learn(items.map(({ image }) => image));
    watcher.watch(opened.unsettled);
    if (model && opened === feed) byId("model").textContent = model;
  });
  opened.addEventListener("requeued", (event) => {
    /** @type {Image} */
    const image = /** @type {CustomEvent} */ (event).detail;
    watcher.watch([image]);
    uploads.reopen(image.id, image.status);
  });
  return opened;
}

/** Show the list of a place; one that was looked at before is taken up where it was left, if asked for. */
function showList(/** @type {import("./place.js").Place} */ place, /** @type {boolean} */ again) {
  const left = kept.get(list);
  if (left) left.scroll = scrollY;
  list = listOf(place);
  const found = again ? kept.get(list) : undefined;
  if (!found) kept.get(list)?.feed.close();
  feed = found?.feed ?? openFeed(place);
  const scroll = found?.scroll ?? 0;
  kept.delete(list);
  kept.set(list, { feed, scroll });
  for (const [key, old] of [...kept].slice(0, -KEPT_FEEDS)) {
    old.feed.close();
    kept.delete(key);
  }
  byId("list").replaceChildren(feed.root);
  byId("heading").replaceChildren(...feed.view.heading);
  filters.show(place, feed.view.filters);
  searchField.value = place.q;
  byId("clear").hidden = !isSearch(place);
  document.title = place.q ? `${place.q} – Likeness` : "Likeness";
  scrollTo(0, scroll);
}

/** @param {boolean} again whether this is a place one was at before */
function move(again) {
  const place = here();
  if (listOf(place) !== list) showList(place, again);
  detail.show(place.image);
}

const actions = {
  chooseFiles: () => byId("files").click(),
  chooseFolder: () => byId("folder").click(),
};

/** @param {File} picture */
function searchBy(picture) {
  if (!maybePicture(picture)) return notify("That is not a picture.");
  const { category, tag } = here();
  go({ picture: keepPicture(picture), category, tag });
}

function wireSearch() {
  searchForm.addEventListener("submit", (event) => {
    event.preventDefault();
    if (matchMedia("(pointer: coarse)").matches) searchField.blur(); // puts the on-screen keyboard away
    const { category, tag } = here();
    go({ q: searchField.value.trim(), category, tag });
  });
  byId("clear").addEventListener("click", () => {
    go({});
    searchField.focus();
  });
  byId("by-picture").addEventListener("click", () => byId("picture").click());
  onPicked(/** @type {HTMLInputElement} */ (byId("picture")), ([picture]) => searchBy(picture));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target instanceof Element && event.target.matches("input, textarea, select");
    if (event.key !== "/" || typing || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    searchField.focus();
    searchField.select();
  });
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let refreshing;

/** Put what is new on top of the lists, once for a burst of uploads. */
function refreshSoon(/** @type {number} */ attempt, ms = REFRESH_MS) {
  refreshing ??= setTimeout(async () => {
    refreshing = undefined;
    try {
      const live = [...kept.values()].filter((one) => one.feed.view.live);
      await Promise.all(live.map((one) => one.feed.refresh()));
    } catch (error) {
      const delay = retryDelay(error, attempt);
      if (delay === null) throw error;
      refreshSoon(attempt + 1, delay * 1000);
    }
  }, ms);
}

function wireUploads() {
  const add = (/** @type {File[]} */ files) => uploads.add(files);
  new UploadPanel(uploads);
  byId("choose-files").addEventListener("click", actions.chooseFiles);
  byId("choose-folder").addEventListener("click", actions.chooseFolder);
  onPicked(/** @type {HTMLInputElement} */ (byId("files")), add);
  onPicked(/** @type {HTMLInputElement} */ (byId("folder")), add);
  acceptFiles({ overlay: byId("drop"), search: searchForm, upload: add, searchBy });
  uploads.addEventListener("accepted", () => refreshSoon(1));
  uploads.addEventListener("requeued", (event) => updateAll(/** @type {CustomEvent} */ (event).detail));
}

function wireStates() {
  watcher.addEventListener("change", (event) => {
    for (const item of /** @type {CustomEvent} */ (event).detail) {
      updateAll(item);
      detail.refresh(item.id);
    }
  });
  watcher.addEventListener("gone", (event) => {
    for (const id of /** @type {CustomEvent} */ (event).detail) for (const one of kept.values()) one.feed.remove(id);
  });
  readiness.addEventListener("recovered", () => feed?.retry());
}

history.scrollRestoration = "manual";
interceptLinks();
wireSearch();
wireUploads();
wireStates();
addEventListener("likeness:moved", (event) => {
  // Asking for what is shown already is asking for it anew.
  if (/** @type {CustomEvent} */ (event).detail.same) showList(here(), false);
  else move(false);
});
addEventListener("popstate", () => move(true));
move(false);
uploads.resume();
readiness.start();

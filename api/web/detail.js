/** An image shown large, with all that is known of it and can be done to it. */

import { ApiError, deleteImage, getImage, requeueImage } from "./api.js";
import { button, byId, element, icon, notify } from "./dom.js";
import { editor } from "./editor.js";
import { details, timeline } from "./facts.js";
import { go, here, hrefOf, leaveImage } from "./place.js";
import { similarTo } from "./similar.js";
import { showOn } from "./stage.js";
import { STATUS_WORDS, fullReason, nameOf, sentence } from "./words.js";

/**
 * @typedef {import("./api.js").Image} Image
 * @typedef {object} Surroundings what the dialog needs of the list beneath
 * @property {(id: string) => Image | undefined} find
 * @property {(id: string, step: 1 | -1) => string | undefined} neighbour
 * @property {(image: Image) => void} changed edited or requeued
 * @property {(id: string) => void} deleted
 * @property {(id: string) => void} left the dialog was closed; this image is where one goes on
 */

export class Detail {
  #dialog = /** @type {HTMLDialogElement} */ (byId("detail"));
  #stage = element("div", { class: "stage" });
  #side = element("div", { class: "side" });
  #previous = button({
    icon: "left",
    label: "Previous picture",
    class: "round step previous",
    onclick: () => this.#step(-1),
  });
  #following = button({ icon: "right", label: "Next picture", class: "round step next", onclick: () => this.#step(1) });
  #around;
  #loading = new AbortController();
  /** @type {string} */
  #id = "";
  #editing = false;
  /** Id of the image to go on with once the one shown was deleted. */
  #next = "";

  /** @param {Surroundings} around */
  constructor(around) {
    this.#around = around;
    const close = button({ icon: "close", label: "Close", class: "round close", onclick: leaveImage });
    this.#dialog.append(
      element("div", { class: "theatre" }, this.#stage, this.#previous, this.#following),
      this.#side,
      close,
    );
    this.#dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      leaveImage();
    });
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) leaveImage();
    });
    this.#dialog.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** @param {string} id of the image to show; none closes */
  show(id) {
    if (id === this.#id) return;
    this.#loading.abort();
    this.#loading = new AbortController();
    const left = this.#id;
    this.#id = id;
    this.#editing = false;
    if (!id) return this.#close(left);
    this.#previous.hidden = !this.#around.neighbour(id, -1);
    this.#following.hidden = !this.#around.neighbour(id, 1);
    const known = this.#around.find(id);
    this.#side.replaceChildren();
    this.#stage.replaceChildren();
    if (known) this.#draw(known);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#side.scrollTop = 0;
    void this.#load();
  }

  /** @param {string} left id of the image shown last */
  #close(left) {
    this.#dialog.close();
    this.#around.left(this.#next || left);
    this.#next = "";
  }

  /** @param {string} id an image whose state moved */
  refresh(id) {
    if (id === this.#id && !this.#editing) void this.#load();
  }

  async #load() {
    const { signal } = this.#loading;
    try {
      const image = await getImage(this.#id, signal);
      if (this.#editing) return;
      this.#draw(image);
      this.#around.changed(image);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#side.replaceChildren(
        element("h2", { id: "detail-title" }, "No picture"),
        element("p", { role: "alert" }, sentence(error.message)),
      );
    }
  }

  /** @param {Image} image */
  #draw(image) {
    showOn(this.#stage, image);
    const title = element("h2", { id: "detail-title" }, nameOf(image));
    const fault =
      image.error && element("p", { class: "fault" }, icon("alert"), element("span", {}, fullReason(image.error)));
    const chips = [image.category && chip("category", image.category), ...image.tags.map((tag) => chip("tag", tag))];
    const state =
      image.status === "done"
        ? null
        : element("p", { class: "badge", "data-status": image.status }, STATUS_WORDS[image.status]);
    this.#side.replaceChildren(
      ...[
        title,
        state,
        fault,
        image.description && element("p", { class: "description" }, image.description),
        element("p", { class: "chips" }, ...chips),
        this.#actions(image),
        this.#similar(image),
        element("h3", {}, "Details"),
        details(image),
        image.events &&
          element(
            "details",
            { open: this.#side.querySelector("details")?.open },
            element("summary", {}, "History"),
            timeline(image.events),
          ),
      ].filter((part) => part instanceof Node),
    );
  }

  /** @param {Image} image @returns {HTMLElement | null} asked for once: drawing anew keeps it */
  #similar({ id, status }) {
    const shown = /** @type {HTMLElement | null} */ (this.#side.querySelector(".similar"));
    return shown ?? (status === "done" ? similarTo(id, this.#loading.signal) : null);
  }

  /** @param {Image} image */
  #actions(image) {
    const edit = button({ icon: "edit", text: "Edit", onclick: () => this.#edit(image) });
    const download = element(
      "a",
      { class: "button", href: image.links.content, download: image.filename },
      icon("download"),
      element("span", {}, "Download"),
    );
    const requeue = button({
      icon: "retry",
      text: "Requeue",
      class: "button primary",
      onclick: () => this.#try(() => this.#requeue()),
    });
    const remove = button({ icon: "trash", text: "Delete", class: "button danger", onclick: () => this.#confirm() });
    return element("div", { class: "actions" }, image.status === "error" && requeue, edit, download, remove);
  }

  #confirm() {
    const keep = button({ text: "Keep", onclick: () => this.#load() });
    const remove = button({
      icon: "trash",
      text: "Delete",
      class: "button destroy",
      onclick: () => this.#try(() => this.#delete()),
    });
    const question = element("span", { id: "question" }, "Delete this picture for good?");
    const asked = element(
      "div",
      { class: "actions confirm", role: "group", "aria-labelledby": "question" },
      question,
      remove,
      keep,
    );
    this.#side.querySelector(".actions")?.replaceWith(asked);
    keep.focus();
  }

  async #delete() {
    const id = this.#id;
    await deleteImage(id);
    this.#next = this.#around.neighbour(id, 1) ?? this.#around.neighbour(id, -1) ?? "";
    leaveImage();
    this.#around.deleted(id);
    notify("The picture was deleted.");
  }

  async #requeue() {
    this.#around.changed(await requeueImage(this.#id));
    await this.#load();
  }

  /** @param {Image} image */
  #edit(image) {
    this.#editing = true;
    const close = () => {
      this.#editing = false;
      void this.#load();
    };
    const onSaved = (/** @type {Image} */ saved) => {
      this.#around.changed(saved);
      close();
    };
    const form = editor(image, { onSaved, onClosed: close });
    this.#side.querySelector(".actions")?.replaceWith(form);
    form.querySelector("input")?.focus();
  }

  /** @param {() => Promise<void>} action */
  async #try(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify(sentence(error.message));
    }
  }

  /** @param {1 | -1} step */
  #step(step) {
    const id = this.#around.neighbour(this.#id, step);
    if (id) go({ ...here(), image: id }, { replace: true });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) return;
    if (event.key === "ArrowLeft") this.#step(-1);
    if (event.key === "ArrowRight") this.#step(1);
  }
}

/** @param {"category" | "tag"} filter @param {string} value */
function chip(filter, value) {
  return element("a", { class: `chip ${filter}`, href: hrefOf({ [filter]: value }) }, value);
}

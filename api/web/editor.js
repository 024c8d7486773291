/** The form that changes an image's descriptive fields. */

import { ApiError, editImage } from "./api.js";
import { element } from "./dom.js";
import { sentence } from "./words.js";

/** @typedef {import("./api.js").Image} Image */

const MOST_TAGS = 50;

/**
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint]
 */
function field(label, control, hint) {
  return element("label", {}, element("span", {}, label, hint && element("small", {}, ` ${hint}`)), control);
}

/**
 * Make the form for an image.
 * @param {Image} image
 * @param {{onSaved: (image: Image) => void, onClosed: () => void}} options
 * @returns {HTMLFormElement}
 */
export function editor(image, { onSaved, onClosed }) {
  const title = element("input", {
    name: "title",
    maxlength: 500,
    value: image.title ?? "",
    placeholder: image.filename,
  });
  const description = element("textarea", { name: "description", maxlength: 10000, rows: 3 }, image.description ?? "");
  const category = element("input", {
    name: "category",
    maxlength: 255,
    value: image.category ?? "",
    list: "categories",
  });
  const tags = element("input", { name: "tags", value: image.tags.join(", "), autocomplete: "off" });
  const save = element("button", { class: "button primary" }, "Save");
  const message = element("p", { class: "message", role: "alert" });
  const cancel = element("button", { type: "button", class: "button", onclick: onClosed }, "Cancel");

  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const changes = differences(image, {
      title: title.value.trim() || null,
      description: description.value.trim() || null,
      category: category.value.trim() || null,
      tags: splitTags(tags.value),
    });
    save.disabled = true;
    try {
      onSaved(Object.keys(changes).length ? await editImage(image.id, changes) : image);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      message.textContent = sentence(error.message);
    } finally {
      save.disabled = false;
    }
  };
  return element(
    "form",
    { class: "editor", onsubmit: submit },
    field("Title", title),
    field("Description", description),
    field("Category", category),
    field("Tags", tags, "separated by commas"),
    message,
    element("div", { class: "actions" }, save, cancel),
  );
}

/** @param {string} text @returns {string[]} */
function splitTags(text) {
  const tags = text.split(",").map((tag) => tag.trim());
  return [...new Set(tags.filter(Boolean))].slice(0, MOST_TAGS);
}

/**
 * Keep what differs: a field that was not touched is not sent, so that another's change to it stands.
 * @param {Image} image
 * @param {Partial<Image>} wanted
 * @returns {Partial<Image>}
 */
function differences(image, wanted) {
  const differing = Object.entries(wanted).filter(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(image[/** @type {keyof Image} */ (name)] ?? null),
  );
  return Object.fromEntries(differing);
}

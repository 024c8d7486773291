/** Files from people: dropped, pasted, or picked, folders included. */

/**
 * Tell files that may be pictures from those that surely are none; the service has the last word.
 * @param {File} file
 * @returns {boolean}
 */
export function maybePicture(file) {
  return file.type === "" || file.type === "application/octet-stream" || file.type.startsWith("image/");
}

/** @param {string} name @returns {boolean} whether a file in a folder is the system's own, of which nobody thinks */
const isHidden = (name) => name.startsWith(".") || name === "Thumbs.db" || name === "desktop.ini";

/**
 * Collect what was dropped, folders with all they hold.
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>}
 */
export async function collectDropped(transfer) {
  // The transfer is emptied once the event is over: take everything from it before the first wait.
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const taken = items.map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  /** @type {File[]} */
  const files = [];
  for (const { entry, file } of taken) {
    if (entry?.isDirectory) await walk(/** @type {FileSystemDirectoryEntry} */ (entry), files);
    else if (file) files.push(file);
  }
  return files;
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @param {File[]} files where to put what is found
 */
async function walk(folder, files) {
  const reader = folder.createReader();
  for (;;) {
    // A reader gives a folder in portions (100 in Chromium); an empty one is the end.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return;
    for (const entry of entries) {
      if (isHidden(entry.name)) continue;
      if (entry.isDirectory) await walk(entry, files);
      else files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    }
  }
}

/**
 * Have an input's files handed over each time some were picked.
 * @param {HTMLInputElement} input
 * @param {(files: File[]) => void} take
 */
export function onPicked(input, take) {
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])].filter((file) => !isHidden(file.name));
    input.value = ""; // so that picking the same file again is a change
    if (files.length) take(files);
  });
}

/** @param {DragEvent} event */
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;

/**
 * Accept files dropped anywhere and pasted anywhere.
 * @param {{overlay: HTMLElement, search: HTMLElement, upload: (files: File[]) => void,
 *          searchBy: (picture: File) => void}} options what is dropped on, or pasted into, `search` is searched by
 */
export function acceptFiles({ overlay, search, upload, searchBy }) {
  /** @param {EventTarget | null} target */
  const isSearch = (target) => target instanceof Node && search.contains(target);
  /** @param {EventTarget | null} target @param {File[]} files */
  const hand = (target, files) => {
    const picture = files.find(maybePicture);
    if (isSearch(target) && picture) searchBy(picture);
    else if (files.length) upload(files);
  };
  /** @param {boolean} over @param {EventTarget | null} [target] */
  const show = (over, target = null) => {
    overlay.classList.toggle("shown", over);
    search.classList.toggle("target", over && isSearch(target));
  };

  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
    show(true, event.target);
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) show(false);
  });
  addEventListener("drop", async (event) => {
    if (!carriesFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    show(false);
    hand(event.target, await collectDropped(event.dataTransfer));
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    hand(event.target, files);
  });
}

// The ways on which photographs come to the page. `add(files)` takes them, `note(words)` speaks.

export function acceptFiles(input, add) {
  input.addEventListener("change", () => {
    if (input.files.length) add([...input.files]);
    input.value = "";
  });
}

// Files, and folders: of these, the files whose names have one of `suffixes`.
export function acceptDrops(suffixes, add, note) {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", carriesFiles(event));
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (!event.dataTransfer.files.length) {
      note("That was no file. Save the picture first, then drop its file here.");
      return;
    }
    try {
      const files = await dropped(event.dataTransfer, suffixes);
      if (files.length) add(files);
      else note("The folder has no photographs.");
    } catch {
      note("What was dropped can’t be read.");
    }
  });
}

export function acceptPastes(add, note) {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) add(files);
    else if (event.target.id !== "key-field") note("The clipboard has no photograph.");
  });
}

export function offerSamples(list, add, note) {
  list.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    try {
      const response = await fetch(button.querySelector("img").src);
      if (!response.ok) throw new Error(String(response.status));
      const blob = await response.blob();
      add([new File([blob], button.dataset.name, { type: blob.type })]);
    } catch {
      note("The sample can’t be fetched: the server can’t be reached.");
    }
  });
}

async function dropped(transfer, suffixes) {
  // The entries are gone once the event has been handled, so all are taken before the first wait.
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = await Promise.all(
    entries.map(async (entry) => {
      if (entry instanceof File) return [entry];
      if (!entry.isDirectory) return [await fileOf(entry)];
      const files = await filesIn(entry);
      return files.filter(({ name }) => suffixes.some((each) => name.toLowerCase().endsWith(each)));
    }),
  );
  return found.flat();
}

// All files in a folder and in those within it, by name.
async function filesIn(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (let read; (read = await entriesOf(reader)).length; ) entries.push(...read);
  entries.sort((left, right) => left.name.localeCompare(right.name, "en", { numeric: true }));
  const found = await Promise.all(
    entries.map((entry) => (entry.isDirectory ? filesIn(entry) : fileOf(entry))),
  );
  return found.flat();
}

// A reader gives its entries in portions, the last of which is empty.
function entriesOf(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

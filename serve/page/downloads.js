const FORBIDDEN = /[\\/:*?"<>|\u0000-\u001f]/g; // in names of files, on one system or another

// The name of a coloured photograph's file; `kind` is that of the model, if it is one of several.
export function coloredName(file, kind = "") {
  const stem = file.name.replace(/\.[^.]*$/, "").replace(FORBIDDEN, "_") || "photo";
  return `${stem}-colored${kind && `-${kind}`}.png`;
}

// The same names, but with a number where a name has been before. Names that differ in case alone
// are one on some systems.
export function distinct(names) {
  const taken = new Set();
  return names.map((name) => {
    let free = name;
    for (let number = 2; taken.has(folded(free)); number += 1) free = numbered(name, number);
    taken.add(folded(free));
    return free;
  });
}

export function offerDownload(link, file, picture, kind = "") {
  link.href = picture.url;
  link.download = coloredName(file, kind);
  link.setAttribute("aria-label", `Download ${link.download}`);
  link.hidden = false;
}

// Let the browser save a file.
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers start reading late
}

function numbered(name, number) {
  const dot = name.lastIndexOf(".");
  return `${name.slice(0, dot)} (${number})${name.slice(dot)}`;
}

function folded(name) {
  return name.normalize("NFC").toLowerCase();
}

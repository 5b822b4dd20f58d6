import { Card } from "./card.js";
import { Queue } from "./queue.js";
import { openService } from "./service.js";

const UPLOADS_AT_ONCE = 2;
const LOG_LENGTH = 20;

const cards = [];
const services = {
  api: openService(),
  queue: new Queue(UPLOADS_AT_ONCE),
  announce,
  changed: showTally,
  removed: removeCard,
};

acceptFiles(byId("files"));
acceptDrops();
acceptPastes();
offerSamples(byId("samples"));
showServed();

function byId(id) {
  return document.getElementById(id);
}

function addPhotographs(files) {
  const added = Array.from(files, (file) => new Card(file, services));
  if (!added.length) return;
  note("");
  cards.push(...added);
  byId("cards").append(...added.map((card) => card.element));
  byId("results").hidden = false;
  for (const card of added) card.colour();
  added[0].element.scrollIntoView({ block: "start" });
}

function removeCard(card) {
  const place = cards.indexOf(card);
  cards.splice(place, 1);
  card.element.remove();
  byId("results").hidden = !cards.length;
  showTally();
  const neighbour = cards[Math.min(place, cards.length - 1)];
  if (neighbour) neighbour.focus();
  else byId("files").focus();
}

function showTally() {
  const done = cards.filter((card) => card.state === "done").length;
  byId("tally").textContent = cards.length > 1 ? `${done} of ${cards.length} coloured` : "";
}

function acceptFiles(input) {
  input.addEventListener("change", () => {
    addPhotographs(input.files);
    input.value = "";
  });
}

function acceptDrops() {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", carriesFiles(event));
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer.files.length) addPhotographs(event.dataTransfer.files);
    else note("That was no file. Save the picture first, then drop its file here.");
  });
}

function acceptPastes() {
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (files.length) addPhotographs(files);
    else if (event.target !== byId("key-field")) note("The clipboard has no photograph.");
  });
}

function offerSamples(list) {
  list.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    try {
      const response = await fetch(button.querySelector("img").src);
      if (!response.ok) throw new Error(String(response.status));
      const blob = await response.blob();
      addPhotographs([new File([blob], button.dataset.name, { type: blob.type })]);
    } catch {
      note("The sample can’t be fetched: the server can’t be reached.");
    }
  });
}

async function showServed() {
  try {
    const { names } = await services.api.served();
    byId("served").textContent = `Models served here: ${names.join(", ")}.`;
  } catch (error) {
    note(error.message);
  }
}

function note(words) {
  byId("note").textContent = words;
}

function announce(words) {
  const entry = document.createElement("p");
  entry.textContent = words;
  const log = byId("log");
  log.append(entry);
  if (log.childElementCount > LOG_LENGTH) log.firstElementChild.remove();
}

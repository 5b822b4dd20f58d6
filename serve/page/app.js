import { Board } from "./board.js";
import { acceptDrops, acceptFiles, acceptPastes, offerSamples } from "./intake.js";
import { Queue } from "./queue.js";
import { openService } from "./service.js";

const UPLOADS_AT_ONCE = 2;
const PREVIEWS_AT_ONCE = 2;
const LOG_LENGTH = 20;

const input = byId("files");
const services = {
  api: await openService(),
  queue: new Queue(UPLOADS_AT_ONCE),
  previews: new Queue(PREVIEWS_AT_ONCE),
  announce,
};
const board = new Board(services, () => input.focus());

acceptFiles(input, add);
acceptDrops(input.accept.split(",").filter((each) => each.startsWith(".")), add, note);
acceptPastes(add, note);
offerSamples(byId("samples"), add, note);
showServed();

function byId(id) {
  return document.getElementById(id);
}

function add(files) {
  note("");
  board.add(files);
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

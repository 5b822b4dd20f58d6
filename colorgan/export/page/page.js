import { LocalModels } from "./models.js";
import { Unable } from "./unable.js";

const models = new LocalModels({ onProgress: showProgress });
const files = byId("files");

acceptDrops();
files.addEventListener("change", () => {
  addPhotographs(files.files);
  files.value = "";
});
start();

function byId(id) {
  return document.getElementById(id);
}

async function start() {
  try {
    const { names } = await models.served();
    byId("state").textContent = "Ready. From now on nothing is loaded, and nothing is sent.";
    byId("served").textContent = `Models in this browser: ${names.join(", ")}.`;
    files.disabled = false;
  } catch (error) {
    byId("state").textContent = "The models are not loaded.";
    byId("problem").textContent = inWords(error);
  }
  byId("progress").hidden = true;
}

function showProgress(loaded, total) {
  byId("progress").value = loaded / total;
  const [part, whole] = [loaded, total].map((bytes) => Math.round(bytes / 1e6));
  byId("state").textContent = `Loading the models: ${part} of ${whole} MB`;
}

function acceptDrops() {
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!files.disabled) addPhotographs(event.dataTransfer.files);
  });
}

function addPhotographs(chosen) {
  const cards = Array.from(chosen, card);
  byId("results").prepend(...cards);
  cards[0]?.scrollIntoView({ block: "start" });
}

// The card of one photograph, which is coloured anew whenever a choice changes.
function card(file) {
  const element = document.importNode(byId("card-template").content.firstElementChild, true);
  const part = (selector) => element.querySelector(selector);
  const choices = [part(".shown-class"), part(".vividness")];
  const link = document.createElement("a"); // to the JPEG, which is made only on demand
  const stem = file.name.replace(/\.[^.]*$/, "") || "photo";
  link.download = `${stem}-colored.jpg`;
  element.setAttribute("aria-label", file.name);
  part(".name").textContent = file.name;
  part(".original").src = URL.createObjectURL(file);
  part(".original").alt = `${file.name}, in black and white`;
  part(".coloured").alt = `${file.name}, in colour`;

  const coloured = (format) => {
    const [photoClass, vividness] = choices.map((choice) => choice.value);
    return models.colorize(file, { photoClass, vividness, format });
  };
  const colour = () => work("Painting", async () => {
    const { blob, photoClass, model } = await coloured("png");
    URL.revokeObjectURL(part(".coloured").src);
    part(".coloured").src = part(".png").href = URL.createObjectURL(blob);
    await part(".coloured").decode();
    part(".png").download = `${stem}-colored.png`;
    part(".png").hidden = false;
    show(false);
    return `Coloured as ${photoClass}, by ${model}`;
  });
  const saveJpeg = () => work("Writing the JPEG", async () => {
    const { blob } = await coloured("jpeg");
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(blob);
    link.click();
    return "The JPEG is written";
  });
  const show = (original) => {
    part(".original").hidden = !original;
    part(".coloured").hidden = original;
    part(".peek").setAttribute("aria-pressed", String(original));
  };
  const work = async (words, job) => {
    const fields = [...choices, part(".jpeg"), part(".peek")];
    element.setAttribute("aria-busy", "true");
    part(".words").textContent = `${words} …`;
    for (const field of fields) field.disabled = true;
    try {
      part(".words").textContent = await job();
    } catch (error) {
      part(".words").textContent = inWords(error);
    }
    const usable = part(".png").hidden ? choices : fields;
    for (const field of usable) field.disabled = false;
    element.setAttribute("aria-busy", "false");
  };

  for (const choice of choices) choice.addEventListener("change", colour);
  part(".jpeg").addEventListener("click", saveJpeg);
  part(".peek").addEventListener("click", () => show(part(".original").hidden));
  offerClasses(part(".shown-class")).then(colour);
  return element;
}

async function offerClasses(select) {
  const { classes } = await models.served();
  for (const { name, served } of classes) {
    const option = new Option(name, name);
    option.disabled = !served;
    select.append(option);
  }
}

function inWords(error) {
  if (error instanceof Unable) return error.message;
  console.error(error);
  return "This page failed at it; its console says why.";
}

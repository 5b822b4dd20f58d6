import { offerDownload } from "./downloads.js";
import { inWords } from "./words.js";
import { instance } from "./templates.js";

const KINDS = {
  assembled: ["Assembled", "the model of its class"],
  objects: ["By objects", "each object by its model"],
  general: ["General", "one model for everything"],
  hypercolumn: ["Hypercolumn", "from a classifier’s features"],
  cic: ["CIC", "by classifying colours"],
};

// A photograph by each kind of model, side by side.
// `services` are colored(kind, signal), which resolves with a colouring, and announce(words).
export class Comparison {
  #element;
  #button;
  #hint;
  #file;
  #services;
  #figures = new Map();
  #working = new AbortController();

  constructor(card, id, file, services) {
    this.#element = card.querySelector(".comparison");
    this.#button = card.querySelector(".compare");
    this.#hint = card.querySelector(".compare-hint");
    this.#file = file;
    this.#services = services;
    this.#element.id = `${id}-comparison`;
    this.#element.setAttribute("aria-label", `${file.name} by each kind of model`);
    this.#button.setAttribute("aria-controls", this.#element.id);
    this.#button.addEventListener("click", () => this.#toggle());
  }

  // Offer the kinds of models that are served, or fill what is open with the colours chosen now.
  offer(kinds, ratio) {
    const comparable = kinds.length > 1;
    this.#button.hidden = false;
    this.#button.disabled = !comparable;
    this.#hint.hidden = comparable;
    if (!this.#figures.size) {
      const figures = kinds.map((kind) => this.#figure(kind, ratio));
      this.#element.append(...figures);
    }
    if (!this.#element.hidden) this.#fillAll();
  }

  close() {
    if (!this.#element.hidden) this.#toggle();
  }

  stop() {
    this.#working.abort();
  }

  #toggle() {
    this.#element.hidden = !this.#element.hidden;
    this.#button.setAttribute("aria-expanded", String(!this.#element.hidden));
    if (this.#element.hidden) this.stop();
    else this.#fillAll();
  }

  #figure(kind, ratio) {
    const figure = instance("compared-template");
    const [title, words] = KINDS[kind];
    figure.querySelector(".kind").textContent = title;
    figure.querySelector(".kind-words").textContent = words;
    figure.querySelector(".compared-picture").style.setProperty("--ratio", ratio);
    figure.querySelector(".retry").addEventListener("click", () => this.#fill(figure, kind));
    this.#figures.set(kind, figure);
    return figure;
  }

  #fillAll() {
    this.stop();
    this.#working = new AbortController();
    for (const [kind, figure] of this.#figures) this.#fill(figure, kind);
  }

  async #fill(figure, kind) {
    const { signal } = this.#working;
    figure.querySelector(".retry").hidden = true;
    figure.querySelector(".failure-words").textContent = "";
    figure.setAttribute("aria-busy", "true");
    try {
      const picture = await this.#services.colored(kind, signal);
      signal.throwIfAborted();
      this.#show(figure, picture, kind);
    } catch (error) {
      if (signal.aborted) return;
      figure.querySelector(".failure-words").textContent = inWords(error);
      figure.querySelector(".retry").hidden = false;
      this.#services.announce(`${this.#file.name}, ${kind}: ${inWords(error)}`);
    }
    figure.setAttribute("aria-busy", "false");
  }

  #show(figure, picture, kind) {
    const image = figure.querySelector("img");
    image.src = picture.url;
    image.alt = `${this.#file.name}, coloured by ${picture.model}`;
    image.hidden = false;
    figure.querySelector(".model-name").textContent = picture.model;
    offerDownload(figure.querySelector(".download"), this.#file, picture, kind);
  }
}

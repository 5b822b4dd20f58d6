import { instance } from "./templates.js";
import { inWords } from "./words.js";

const COUNT = 4;
const SIDE = 480; // pixels of the pictures to choose from
export const USUAL = 1;

// Several colourings of a photograph, of which the user chooses one; `choice` is its number.
// `services` are several(count, side, signal), which resolves with the pictures as blobs,
// changed(), which is called when another one is chosen, and announce(words).
export class Variants {
  choice = USUAL;
  #button;
  #panel;
  #part;
  #file;
  #services;
  #radios = [];
  #images = [];
  #of = ""; // what the pictures are of
  #shown = ""; // what those that are shown are of
  #working = new AbortController();

  constructor(card, id, file, services) {
    this.#part = (selector) => card.querySelector(selector);
    this.#button = this.#part(".variants-toggle");
    this.#panel = this.#part(".variants");
    this.#file = file;
    this.#services = services;
    this.#panel.id = `${id}-variants`;
    this.#button.setAttribute("aria-controls", this.#panel.id);
    this.#button.addEventListener("click", () => this.#toggle());
    this.#part(".variants .retry").addEventListener("click", () => this.#fill());
    for (let number = USUAL; number <= COUNT; number += 1) this.#add(number, `${id}-variant`);
    this.#panel.addEventListener("change", (event) => {
      this.choice = Number(event.target.value);
      services.changed();
    });
  }

  // The choice in words, if it is not the usual one.
  get words() {
    return this.choice === USUAL ? "" : `colours ${this.choice}`;
  }

  // Offer them if the model has noise. `of` says what they are of: if it changes, so do they.
  offer(possible, of) {
    this.#button.hidden = !possible;
    this.#of = of;
    if (!possible) this.close();
    else if (!this.#panel.hidden && this.#shown !== of) this.#fill();
  }

  // Go back to the usual colouring, without a call of changed().
  reset() {
    this.choice = USUAL;
    this.#radios[0].checked = true;
  }

  close() {
    if (!this.#panel.hidden) this.#toggle();
  }

  // Stop working, and forget the pictures.
  stop() {
    this.#working.abort();
    this.#shown = "";
    for (const image of this.#images) {
      URL.revokeObjectURL(image.src);
      image.removeAttribute("src");
      image.hidden = true;
    }
  }

  #add(number, name) {
    const label = instance("variant-template");
    const radio = label.querySelector("input");
    Object.assign(radio, { name, value: String(number), checked: number === USUAL });
    const words = number === USUAL ? "1, the usual" : String(number);
    label.querySelector(".variant-name").textContent = words;
    radio.setAttribute("aria-label", `Colours ${words}`);
    this.#radios.push(radio);
    this.#images.push(label.querySelector("img"));
    this.#part(".variants-choices").append(label);
  }

  #toggle() {
    this.#panel.hidden = !this.#panel.hidden;
    this.#button.setAttribute("aria-expanded", String(!this.#panel.hidden));
    if (this.#panel.hidden) this.#working.abort();
    else if (this.#shown !== this.#of) this.#fill();
  }

  async #fill() {
    this.stop();
    this.#working = new AbortController();
    const { signal } = this.#working;
    const of = this.#of;
    const [retry, words] = [".variants .retry", ".variants .failure-words"].map(this.#part);
    retry.hidden = true;
    words.textContent = "";
    this.#panel.setAttribute("aria-busy", "true");
    try {
      const pictures = await this.#services.several(COUNT, SIDE, signal);
      signal.throwIfAborted();
      for (const [place, picture] of pictures.entries()) {
        this.#images[place].src = URL.createObjectURL(picture);
        this.#images[place].hidden = false;
      }
      this.#shown = of;
      this.#services.announce(`${this.#file.name}: ${pictures.length} colourings to choose from.`);
    } catch (error) {
      if (signal.aborted) return;
      words.textContent = inWords(error);
      retry.hidden = false;
      this.#services.announce(`${this.#file.name}: ${inWords(error)}`);
    }
    this.#panel.setAttribute("aria-busy", "false");
  }
}

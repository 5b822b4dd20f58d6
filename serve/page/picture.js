import { Failure } from "/shared/api.js";
import { Flicker } from "./flicker.js";

const FIRST_SPLIT = 38;
const SLIDER = "slider";
const FLICKER = "flicker";

// A photograph and its colouring: under a slider, side by side, or in turn.
export class Picture {
  #card;
  #part;
  #file;
  #stack;
  #before;
  #after;
  #flicker;
  #originalUrl = null;
  #previewed = false;

  constructor(card, id, file) {
    this.#card = card;
    this.#part = (selector) => card.querySelector(selector);
    this.#file = file;
    this.#stack = this.#part(".stack");
    this.#before = this.#part(".before");
    this.#after = this.#part(".after");
    this.#flicker = new Flicker(card, (side) => (this.#stack.dataset.shown = side));
    const slider = this.#part(".slider");
    slider.setAttribute("aria-label", `${file.name}, before and after`);
    slider.addEventListener("input", () => {
      this.#stack.classList.remove("revealing");
      this.#split(slider.valueAsNumber);
    });
    for (const radio of this.#views) radio.name = `${id}-view`;
    this.#part(".views").addEventListener("change", (event) => this.#view(event.target.value));
  }

  // Width and height of the coloured picture in pixels.
  get size() {
    return [this.#after.naturalWidth, this.#after.naturalHeight];
  }

  get ratio() {
    return this.#stack.style.getPropertyValue("--ratio");
  }

  // Show the file itself, if the browser can.
  async showOriginal() {
    this.#originalUrl = URL.createObjectURL(this.#file);
    this.#before.src = this.#originalUrl;
    this.#before.alt = `${this.#file.name}, in black and white`;
    try {
      await this.#before.decode();
      this.#shape(this.#before);
      this.#previewed = true;
    } catch {
      URL.revokeObjectURL(this.#originalUrl);
      this.#before.hidden = true;
      this.#before.removeAttribute("src");
      this.#part(".no-preview").hidden = false;
      this.#card.classList.add("blind");
    }
  }

  // An image of a URL, decoded, so that `show` changes the picture at once.
  async load(url) {
    const image = new Image();
    image.src = url;
    await image.decode().catch(() => {
      throw new Failure("This browser can’t show the coloured picture.");
    });
    return image;
  }

  // Show a colouring that is loaded, after `showOriginal`.
  show(image) {
    this.#after.src = image.src;
    this.#after.alt = `${this.#file.name}, in colour`;
    this.#after.style.filter = "";
    if (!this.#previewed) this.#beginWith(image);
    if (this.#after.hidden) this.#reveal();
  }

  // Whether a URL is shown, and must stay valid.
  shows(url) {
    return url === this.#before.src || url === this.#after.src;
  }

  // Show about how another vividness looks, until the next `show`: the colouring that is shown, or
  // another one, with its saturation times `factor`.
  preview(factor, url = this.#after.src) {
    if (url !== this.#after.src) this.#after.src = url;
    this.#after.style.filter = factor === 1 ? "" : `saturate(${factor})`;
  }

  // Go back to the slider.
  rest() {
    this.#views.find(({ value }) => value === SLIDER).checked = true;
    this.#view(SLIDER);
  }

  close() {
    this.#flicker.stop();
    if (this.#originalUrl) URL.revokeObjectURL(this.#originalUrl);
  }

  get #views() {
    return [...this.#part(".views").querySelectorAll("input")];
  }

  #view(view) {
    this.#stack.dataset.view = view;
    if (view === FLICKER) this.#flicker.start();
    else this.#flicker.stop();
  }

  #shape(image) {
    this.#stack.style.setProperty("--ratio", String(image.naturalWidth / image.naturalHeight));
  }

  // If the browser cannot show the file, "before" is the coloured picture, turned gray again.
  #beginWith(image) {
    this.#previewed = true;
    this.#before.src = image.src;
    this.#before.alt = `${this.#file.name}, in black and white`;
    this.#before.hidden = false;
    this.#part(".no-preview").hidden = true;
    this.#card.classList.remove("blind");
    this.#shape(image);
  }

  #reveal() {
    this.#after.hidden = false;
    this.#part(".slider").hidden = false;
    this.#part(".slider").value = String(FIRST_SPLIT);
    this.#part(".views").hidden = false;
    this.#stack.classList.add("revealed", "revealing");
    this.#split(FIRST_SPLIT);
  }

  #split(value) {
    this.#stack.style.setProperty("--split", `${value}%`);
    this.#part(".slider").setAttribute("aria-valuetext", `${Math.round(100 - value)}% in colour`);
  }
}

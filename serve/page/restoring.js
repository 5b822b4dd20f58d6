const WORDS = {
  off: "For prints that are faded, noisy or scratched, or have a border.",
  colors:
    "Faults that disturb the models are mended before they see the print. The lightness stays " +
    "the print’s own, with its scratches and its grain. A border stays gray.",
  full: "The models see the mended print, and the picture gets the mended lightness, too. A border stays gray.",
};

// Whether an old print is mended: the parameter `restore` of the service. `changed()` is called when
// another way is chosen.
export class Restoring {
  #element;
  #select;

  constructor(card, id, changed) {
    this.#element = card.querySelector(".restoring");
    this.#select = this.#element.querySelector("select");
    const hint = this.#element.querySelector(".restoring-hint");
    this.#select.id = `${id}-restore`;
    hint.id = `${id}-restore-hint`;
    this.#element.querySelector("label").htmlFor = this.#select.id;
    this.#select.setAttribute("aria-describedby", hint.id);
    this.#select.addEventListener("change", () => {
      hint.textContent = WORDS[this.value];
      changed();
    });
    hint.textContent = WORDS[this.value];
  }

  get value() {
    return this.#select.value;
  }

  offer() {
    this.#element.hidden = false;
  }
}

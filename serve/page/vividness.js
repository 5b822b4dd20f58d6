const QUIET_MS = 300; // without another change before the service is asked

const NAMED = new Map([
  [0, ", gray"],
  [1, ", as painted"],
]);

// The slider of the vividness. `previewed(value)` is called with each change, `changed()` once when
// the slider has come to rest.
export class Vividness {
  value = 1;
  #element;
  #input;
  #timer;

  constructor(card, id, { previewed, changed }) {
    this.#element = card.querySelector(".vividness");
    this.#input = this.#element.querySelector("input");
    this.#input.id = `${id}-vividness`;
    this.#element.querySelector("label").htmlFor = this.#input.id;
    this.#input.addEventListener("input", () => {
      this.value = this.#input.valueAsNumber;
      this.#show();
      previewed(this.value);
      clearTimeout(this.#timer);
      this.#timer = setTimeout(changed, QUIET_MS);
    });
    this.#show();
  }

  // The vividness in words, if it was chosen.
  get words() {
    return this.value === 1 ? "" : `vividness ${percent(this.value)}`;
  }

  offer() {
    this.#element.hidden = false;
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #show() {
    this.#element.querySelector("output").textContent = percent(this.value);
    const words = NAMED.get(this.value) ?? "";
    this.#input.setAttribute("aria-valuetext", percent(this.value) + words);
  }
}

function percent(value) {
  return `${Math.round(100 * value)}%`;
}

// Half a period: before and after alternate once a second, a third of the three flashes a second
// that WCAG 2.3.1 allows.
const SHOWN_MS = 500;

// Shows a photograph and its colouring in turn. `show(side)` shows "before" or "after".
export class Flicker {
  #controls;
  #run;
  #flip;
  #show;
  #side = "after";
  #timer = null;

  constructor(card, show) {
    this.#controls = card.querySelector(".flicker");
    this.#run = card.querySelector(".flicker-run");
    this.#flip = card.querySelector(".flicker-flip");
    this.#show = show;
    this.#run.addEventListener("click", () => {
      if (this.#timer === null) this.#start();
      else this.#pause();
    });
    this.#flip.addEventListener("click", () => {
      this.#pause();
      this.#turn();
    });
  }

  // It starts by itself only for those who have not asked for less motion.
  start() {
    this.#controls.hidden = false;
    this.#become("after");
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.#pause();
    else this.#start();
  }

  stop() {
    this.#controls.hidden = true;
    this.#pause();
  }

  #start() {
    this.#run.textContent = "Pause";
    // A chain instead of an interval: after a delay, an interval's next turn comes early.
    const next = () => {
      this.#turn();
      this.#timer = setTimeout(next, SHOWN_MS);
    };
    this.#timer = setTimeout(next, SHOWN_MS);
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#run.textContent = "Play";
  }

  #turn() {
    this.#become(this.#side === "after" ? "before" : "after");
  }

  #become(side) {
    this.#side = side;
    this.#flip.textContent = side === "after" ? "Show before" : "Show after";
    this.#show(side);
  }
}

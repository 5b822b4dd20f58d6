const MOST = 100;
const STEP = 0.02; // of the picture's sides, for an arrow key; with Shift a tenth of it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The colours of points that the user has set on the picture of a card.
// `size()` returns the picture's width and height in pixels, `changed()` is called after each
// change, and `announce(words)` speaks.
export class Hints {
  #part;
  #services;
  #points = [];
  #past = [];
  #aim = [0.5, 0.5];

  constructor(card, services) {
    this.#part = (selector) => card.querySelector(selector);
    this.#services = services;
    this.#part(".hints-toggle").addEventListener("click", () => this.#toggle());
    this.#part(".hints-undo").addEventListener("click", () => this.#undo());
    this.#part(".hints-clear").addEventListener("click", () => this.#become([]));
    this.#part(".hints-list").addEventListener("click", (event) => this.#removeBy(event));
    const field = this.#part(".aim");
    field.addEventListener("click", (event) => this.#click(event));
    field.addEventListener("keydown", (event) => this.#key(event));
  }

  // As the API takes them.
  get text() {
    return this.#points.length ? JSON.stringify(this.#points) : "";
  }

  // Offer them, once there is a picture to set them on.
  offer() {
    this.#part(".hints-toggle").hidden = false;
  }

  close() {
    if (!this.#part(".hints-panel").hidden) this.#toggle();
  }

  #toggle() {
    const panel = this.#part(".hints-panel");
    panel.hidden = !panel.hidden;
    this.#part(".hints-toggle").setAttribute("aria-expanded", String(!panel.hidden));
    this.#part(".stack").classList.toggle("aiming", !panel.hidden);
    this.#part(".aim").hidden = panel.hidden;
    this.#show();
  }

  // A click counts where it is; the click that Enter makes, where the arrows have led.
  #click(event) {
    if (event.detail > 0) {
      const box = this.#part(".aim").getBoundingClientRect();
      const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      this.#moveTo(place);
    }
    this.#add();
  }

  #key(event) {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.preventDefault();
      this.#undo();
    }
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const step = event.shiftKey ? STEP / 10 : STEP;
    this.#moveTo(this.#aim.map((at, side) => at + arrow[side] * step));
    const { x, y } = this.#point();
    this.#part(".aim-words").textContent = `Point ${x}, ${y}`;
  }

  #moveTo(place) {
    this.#aim = place.map((at) => Math.min(Math.max(at, 0), 1));
    const style = this.#part(".aim").style;
    style.setProperty("--x", `${100 * this.#aim[0]}%`);
    style.setProperty("--y", `${100 * this.#aim[1]}%`);
  }

  // The aim in pixels of the picture.
  #point() {
    const [x, y] = this.#services
      .size()
      .map((length, side) => Math.min(Math.floor(this.#aim[side] * length), length - 1));
    return { x, y };
  }

  #add() {
    const point = { ...this.#point(), color: this.#part(".hints-color").value };
    const others = this.#points.filter(({ x, y }) => x !== point.x || y !== point.y);
    if (others.length >= MOST) {
      this.#services.announce(`There is room for ${MOST} colours; remove one first.`);
      return;
    }
    this.#become([...others, point], `Colour ${point.color} at ${point.x}, ${point.y}`);
  }

  #removeBy(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const place = Number(button.dataset.place);
    this.#become(this.#points.filter((_, number) => number !== place));
  }

  #undo() {
    if (!this.#past.length) return;
    this.#points = this.#past.pop();
    this.#tell("Undone");
  }

  #become(points, words = "Removed") {
    this.#past.push(this.#points);
    this.#points = points;
    this.#tell(words);
  }

  #tell(words) {
    this.#show();
    this.#services.announce(words);
    this.#services.changed();
  }

  #show() {
    const undo = this.#part(".hints-undo");
    const clear = this.#part(".hints-clear");
    // A disabled button loses the focus, and the keyboard its place.
    const lost = [undo, clear].includes(document.activeElement);
    undo.disabled = !this.#past.length;
    clear.disabled = !this.#points.length;
    if (lost && document.activeElement?.disabled !== false) this.#part(".aim").focus();
    this.#part(".hints-list").replaceChildren(...this.#points.map(row));
    const open = !this.#part(".hints-panel").hidden;
    const size = this.#services.size();
    this.#part(".marks").replaceChildren(
      ...(open ? this.#points.map((point) => mark(point, size)) : []),
    );
  }
}

function row({ x, y, color }, place) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.dataset.place = String(place);
  button.textContent = "Remove";
  button.setAttribute("aria-label", `Remove ${color} at ${x}, ${y}`);
  const words = document.createElement("span");
  words.textContent = `${color} at ${x}, ${y}`;
  item.append(swatch(color), words, button);
  return item;
}

function mark({ x, y, color }, [width, height]) {
  const dot = swatch(color);
  dot.style.setProperty("--x", `${(100 * (x + 0.5)) / width}%`);
  dot.style.setProperty("--y", `${(100 * (y + 0.5)) / height}%`);
  return dot;
}

function swatch(color) {
  const dot = document.createElement("span");
  dot.className = "swatch";
  dot.style.setProperty("--color", color);
  return dot;
}

import { AUTO, Classes, OBJECTS } from "./classes.js";
import { Colorings } from "./colorings.js";
import { Comparison } from "./comparison.js";
import { coloredName, offerDownload } from "./downloads.js";
import { Hints } from "./hints.js";
import { Objects } from "./objects.js";
import { Picture } from "./picture.js";
import { Restoring } from "./restoring.js";
import { instance } from "./templates.js";
import { USUAL, Variants } from "./variants.js";
import { Vividness } from "./vividness.js";
import { inWords } from "./words.js";

const ASSEMBLED = "assembled";
const RESTORE_OFF = "off";
const NEARLY_GRAY = 0.25; // a vividness with too little colour left to saturate it
let cardsMade = 0;

// The card of one photograph: its picture, its classes, its colourings and its errors.
// `services` are the api (see service.js), the queues `queue` and `previews`, announce(words),
// changed(card) and removed(card).
export class Card {
  state = "waiting";
  #file;
  #services;
  #element = instance("card-template");
  #picture;
  #classes;
  #vividness;
  #restoring;
  #hints;
  #objects;
  #variants;
  #comparison;
  #colorings;
  #page = null;
  #routes = new Map(); // by the way in which the print is mended
  #served = null;
  #opened; // when the file's own picture is shown, or known to be none
  #shown = null; // {wish, coloring}
  #colouring = new AbortController();
  #removed = false;

  constructor(file, services) {
    this.#file = file;
    this.#services = services;
    const card = this.#element;
    const id = `card-${(cardsMade += 1)}`;
    this.#label(id);
    const again = () => this.colour({ first: true });
    this.#picture = new Picture(card, id, file);
    this.#classes = new Classes(card, id, () => this.#choose());
    this.#vividness = new Vividness(card, id, {
      previewed: (value) => this.#preview(value),
      changed: () => this.colour({ first: true, quietly: true }),
    });
    this.#restoring = new Restoring(card, id, () => this.#choose());
    this.#objects = new Objects(card);
    this.#variants = new Variants(card, id, file, {
      several: (count, side, signal) =>
        services.queue.run(
          () => services.api.variants(file, this.#wish(), { count, side, signal }),
          { first: true },
        ),
      changed: again,
      announce: services.announce,
    });
    this.#hints = new Hints(card, {
      size: () => this.#picture.size,
      changed: again,
      announce: services.announce,
    });
    this.#colorings = new Colorings(
      (wish, options) => services.api.colorize(file, wish, options),
      (url) => this.#picture.shows(url),
    );
    this.#comparison = new Comparison(card, id, file, {
      colored: (kind, signal) =>
        services.queue.run(() => this.#colorings.get(this.#wish(kind), { signal }), { first: true }),
      announce: services.announce,
    });
    this.#opened = services.previews.run(async () => this.#removed || this.#picture.showOriginal());
    this.#part(".failure .retry").addEventListener("click", () => {
      this.focus();
      again();
    });
    this.#part(".adjust").addEventListener("click", () => this.#adjust());
    this.#part(".remove").addEventListener("click", () => this.remove());
  }

  get element() {
    return this.#element;
  }

  // The coloured photograph's file, {name, blob}; null before there is one.
  get download() {
    return this.#shown && { name: coloredName(this.#file), blob: this.#shown.coloring.blob };
  }

  // Colour the photograph as it is chosen now; `quietly` changes the picture without a shimmer.
  colour({ first = false, quietly = false } = {}) {
    this.#colouring.abort();
    this.#vividness.stop();
    this.#colouring = new AbortController();
    const { signal } = this.#colouring;
    this.#part(".failure").hidden = true;
    this.#element.classList.toggle("quietly", quietly);
    this.#enter("waiting", "Waiting for its turn");
    this.#services.queue
      .run(() => this.#work(signal), { first })
      .catch((error) => signal.aborted || this.#fail(error));
  }

  focus() {
    this.#part(".name").focus({ preventScroll: true });
  }

  remove() {
    this.#removed = true;
    this.#colouring.abort();
    this.#vividness.stop();
    this.#comparison.stop();
    this.#variants.stop();
    this.#picture.close();
    this.#colorings.clear();
    this.#services.removed(this);
  }

  #part(selector) {
    return this.#element.querySelector(selector);
  }

  #label(id) {
    const { name } = this.#file;
    this.#part(".name").textContent = name;
    this.#part(".name").id = `${id}-name`;
    this.#element.setAttribute("aria-labelledby", `${id}-name`);
    this.#part(".details").id = `${id}-details`;
    this.#part(".adjust").setAttribute("aria-controls", `${id}-details`);
    this.#part(".adjust").setAttribute("aria-label", `Adjust ${name}`);
    this.#part(".remove").setAttribute("aria-label", `Remove ${name}`);
    this.#part(".aim").setAttribute("aria-label", `A point of ${name}`);
    this.#part(".hints-panel").setAttribute("aria-label", `Corrections of ${name}`);
  }

  // Among many photographs a card is small, until it is opened to adjust its colours.
  #adjust() {
    const open = this.#element.classList.toggle("open");
    this.#part(".adjust").setAttribute("aria-expanded", String(open));
    this.#part(".adjust").textContent = open ? "Close" : "Adjust";
    this.#part(".adjust").setAttribute("aria-label", `${open ? "Close" : "Adjust"} ${this.#file.name}`);
    if (!open) {
      this.#hints.close();
      this.#variants.close();
      this.#comparison.close();
      this.#picture.rest();
    }
    this.#element.scrollIntoView({ block: "nearest" });
  }

  async #work(signal) {
    signal.throwIfAborted();
    const { api } = this.#services;
    const options = { signal, onWait: (seconds) => this.#enter("waiting", waitingFor(seconds)) };
    this.#served ??= await api.served();
    const restore = this.#restoring.value;
    if (!this.#routes.has(restore)) {
      this.#enter("looking", "Looking at what it shows");
      this.#routes.set(restore, await this.#classified(restore, options));
    }
    this.#showRoute(this.#routes.get(restore));
    this.#enter("painting", "Painting");
    const wish = this.#wish();
    const coloring = await this.#colorings.get(wish, options);
    const [image] = await Promise.all([this.#picture.load(coloring.url), this.#opened]);
    signal.throwIfAborted();
    this.#picture.show(image);
    this.#shown = { wish, coloring };
    this.#finish();
  }

  // The router's answer. Of a file with several pages, the router and the models get the first one.
  async #classified(restore, options) {
    const { api } = this.#services;
    try {
      return await api.classify(this.#file, { page: this.#page, restore }, options);
    } catch (error) {
      if (!error.isOfSeveralPages) throw error;
      this.#page = 1;
      return await api.classify(this.#file, { page: this.#page, restore }, options);
    }
  }

  // The kind of model that is chosen now.
  get #kind() {
    return this.#classes.choice === OBJECTS ? OBJECTS : this.#served.kinds[0];
  }

  // What is chosen now, for the service.
  #wish(kind = this.#kind) {
    const { choice } = this.#classes;
    const photoClass = kind === ASSEMBLED && choice !== OBJECTS ? choice : AUTO;
    const variant = kind === this.#kind ? this.#variants.choice : USUAL;
    const { value: vividness } = this.#vividness;
    const { value: restore } = this.#restoring;
    const hints = this.#hints.text;
    return { model: kind, photoClass, page: this.#page, vividness, hints, restore, variant };
  }

  // Another model may colour now, and its numbers mean other colours.
  #choose() {
    this.#variants.reset();
    this.colour({ first: true });
  }

  // Until the slider rests, the browser's own saturation stands for the vividness.
  #preview(value) {
    this.#colouring.abort(); // its picture would come in between
    const { wish } = this.#shown;
    if (wish.vividness >= NEARLY_GRAY) {
      this.#picture.preview(value / wish.vividness);
      return;
    }
    const painted = { ...wish, vividness: 1 };
    const coloring = this.#colorings.peek(painted);
    if (!coloring) return;
    this.#shown = { wish: painted, coloring };
    this.#picture.preview(value, coloring.url);
  }

  #showRoute(route) {
    this.#classes.show(this.#served.classes, route, this.#served.kinds.includes(OBJECTS));
    const { label } = route;
    const words = label
      ? `The router sees: ${label}.`
      : "The router sees none of them clearly; the shares compare them with each other.";
    this.#part(".seen").textContent = words;
    this.#part(".seen").hidden = !label && this.#classes.sure;
  }

  #finish() {
    const { wish, coloring } = this.#shown;
    this.#part(".model-name").textContent = coloring.model.replaceAll(",", ", ");
    this.#part(".model").hidden = false;
    this.#part(".adjust").hidden = false;
    this.#vividness.offer();
    this.#restoring.offer();
    this.#objects.show(coloring.objects ?? null, this.#picture.size);
    this.#offerVariants();
    this.#hints.offer();
    this.#showNote(coloring.note, wish.restore !== RESTORE_OFF);
    offerDownload(this.#part(".download"), this.#file, coloring);
    this.#enter("done", this.#verdict(wish.model, coloring));
    const choices = [this.#variants.words, this.#vividness.words];
    const words = [this.#part(".state").textContent, ...choices].filter(Boolean);
    this.#services.announce(`${this.#file.name}: ${words.join(", ")}.`);
    this.#comparison.offer(this.#served.kinds, this.#picture.ratio);
  }

  #offerVariants() {
    const { wish, coloring } = this.#shown;
    const noisy = wish.model === OBJECTS ? [] : (this.#served.noisy ?? []);
    const hasNoise = noisy.includes(coloring.model.split("@")[0]);
    this.#part(".variants").style.setProperty("--ratio", this.#picture.ratio);
    this.#variants.offer(hasNoise, JSON.stringify({ ...wish, variant: USUAL }));
  }

  #showNote(note, mended) {
    const found = note ?? (mended ? "nothing to mend was found" : "");
    const words = [found, this.#page ? "the file has several pages; this is the first" : ""];
    const said = words.filter(Boolean).join("; ");
    this.#part(".file-note").textContent = said && `About the file: ${said}.`;
    this.#part(".file-note").hidden = !said;
  }

  #verdict(kind, coloring) {
    const [name] = coloring.model.split("@");
    if (coloring.objects) {
      const count = coloring.objects.length;
      return `Coloured by objects; ${count || "none"} found`;
    }
    if (kind !== ASSEMBLED) return `Coloured by the ${name} model`;
    if (this.#classes.choice !== AUTO) return `Coloured as ${name}, as you chose`;
    if (coloring.photoClass !== name || !this.#classes.sure) return `The router is unsure; coloured as ${name}`;
    return `Coloured as ${name}`;
  }

  #enter(state, words) {
    this.state = state;
    this.#element.dataset.state = state;
    this.#element.setAttribute("aria-busy", String(state !== "done" && state !== "failed"));
    this.#part(".state").textContent = words;
    this.#services.changed(this);
  }

  #fail(error) {
    this.#picture.preview(1);
    this.#part(".failure-words").textContent = inWords(error);
    this.#part(".failure").hidden = false;
    this.#enter("failed", this.#shown ? "Not coloured anew" : "Not coloured");
    this.#services.announce(`${this.#file.name} is not coloured. ${inWords(error)}`);
  }
}

function waitingFor(seconds) {
  return `The server is busy; trying again in ${Math.max(1, Math.round(seconds))} s`;
}

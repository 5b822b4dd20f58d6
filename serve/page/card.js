import { Failure } from "/shared/api.js";
import { Hints } from "./hints.js";

const AUTO = "auto";
const FIRST_SPLIT = 38;
const RESULTS_KEPT = 12;
const KINDS = {
  assembled: ["Assembled", "the model of its class"],
  general: ["General", "one model for everything"],
  hypercolumn: ["Hypercolumn", "from a classifier’s features"],
  cic: ["CIC", "by classifying colours"],
};
const percent = new Intl.NumberFormat("en-GB", { style: "percent" });
let cardsMade = 0;

// The card of one photograph: its picture, its classes, its colourings and its errors.
// `services` are the api, the queue, announce(words), changed(card) and removed(card).
export class Card {
  state = "waiting";
  #file;
  #services;
  #element = instance("card-template");
  #id = `card-${(cardsMade += 1)}`;
  #choice = AUTO;
  #vividness = "1";
  #hints;
  #page = null;
  #route = null;
  #served = null;
  #originalUrl;
  #previewed;
  #revealed = false;
  #results = new Map();
  #colouring = new AbortController();
  #comparing = new AbortController();

  constructor(file, services) {
    this.#file = file;
    this.#services = services;
    this.#part(".name").textContent = file.name;
    this.#part(".name").id = `${this.#id}-name`;
    this.#element.setAttribute("aria-labelledby", `${this.#id}-name`);
    this.#part(".comparison").id = `${this.#id}-comparison`;
    this.#part(".compare").setAttribute("aria-controls", `${this.#id}-comparison`);
    this.#part(".comparison").setAttribute("aria-label", `${file.name} by each kind of model`);
    this.#part(".remove").setAttribute("aria-label", `Remove ${file.name}`);
    this.#part(".slider").setAttribute("aria-label", `${file.name}, before and after`);
    this.#part(".aim").setAttribute("aria-label", `A point of ${file.name}`);
    this.#part(".hints-panel").setAttribute("aria-label", `Corrections of ${file.name}`);
    this.#hints = new Hints(this.#element, {
      size: () => [this.#part(".after").naturalWidth, this.#part(".after").naturalHeight],
      changed: () => this.colour({ first: true }),
      announce: services.announce,
    });
    this.#previewed = this.#showOriginal();
    this.#listen();
  }

  get element() {
    return this.#element;
  }

  colour({ first = false } = {}) {
    this.#colouring.abort();
    this.#colouring = new AbortController();
    const { signal } = this.#colouring;
    this.#part(".failure").hidden = true;
    this.#enter("waiting", "Waiting for its turn");
    this.#services.queue
      .run(() => this.#work(signal), { first })
      .catch((error) => signal.aborted || this.#fail(error));
  }

  focus() {
    this.#part(".name").focus({ preventScroll: true });
  }

  #part(selector) {
    return this.#element.querySelector(selector);
  }

  #listen() {
    const slider = this.#part(".slider");
    slider.addEventListener("input", () => {
      this.#part(".stack").classList.remove("revealing");
      this.#split(slider.valueAsNumber);
    });
    this.#part(".failure .retry").addEventListener("click", () => {
      this.focus();
      this.colour({ first: true });
    });
    this.#part(".classes").addEventListener("change", (event) => {
      this.#choice = event.target.value;
      this.colour({ first: true });
    });
    this.#part(".vividness").addEventListener("change", (event) => {
      this.#vividness = event.target.value;
      this.colour({ first: true });
    });
    this.#part(".compare").addEventListener("click", () => this.#toggleComparison());
    this.#part(".remove").addEventListener("click", () => this.#remove());
  }

  async #showOriginal() {
    this.#originalUrl = URL.createObjectURL(this.#file);
    const before = this.#part(".before");
    before.src = this.#originalUrl;
    before.alt = `${this.#file.name}, in black and white`;
    try {
      await before.decode();
      this.#shape(before);
      return true;
    } catch {
      URL.revokeObjectURL(this.#originalUrl);
      before.hidden = true;
      before.removeAttribute("src");
      this.#part(".no-preview").hidden = false;
      this.#element.classList.add("blind");
      return false;
    }
  }

  #shape(image) {
    const ratio = image.naturalWidth / image.naturalHeight;
    this.#part(".stack").style.setProperty("--ratio", String(ratio));
  }

  async #work(signal) {
    signal.throwIfAborted();
    const { api } = this.#services;
    const options = { signal, onWait: (seconds) => this.#enter("waiting", waitingFor(seconds)) };
    this.#enter("looking", "Looking at what it shows");
    this.#served ??= await api.served();
    if (!this.#route) {
      this.#route = await this.#classified(options);
      this.#showClasses();
    }
    this.#enter("painting", "Painting");
    const kind = this.#served.kinds[0];
    const picture = await this.#result(kind, options);
    await this.#showPicture(picture);
    signal.throwIfAborted();
    this.#finish(kind, picture);
  }

  // The router's answer. Of a file with several pages, the router and the models get the first one.
  async #classified(options) {
    const { api } = this.#services;
    try {
      return await api.classify(this.#file, this.#page, options);
    } catch (error) {
      if (!error.isOfSeveralPages) throw error;
      this.#page = 1;
      return await api.classify(this.#file, this.#page, options);
    }
  }

  // The colouring by a kind of model, which is requested from the server only once.
  async #result(kind, options) {
    const photoClass = kind === "assembled" ? this.#choice : AUTO;
    const chosen = { vividness: this.#vividness, hints: this.#hints.text };
    const wish = { model: kind, photoClass, page: this.#page, ...chosen };
    const key = `${kind} ${photoClass} ${wish.vividness} ${wish.hints}`;
    let result = this.#results.get(key);
    if (!result) {
      const answer = await this.#services.api.colorize(this.#file, wish, options);
      options.signal.throwIfAborted();
      result = { ...answer, url: URL.createObjectURL(answer.blob) };
    }
    this.#results.delete(key); // the last one used comes last
    this.#results.set(key, result);
    this.#forget();
    return result;
  }

  // Every colour of a point makes another picture; memory holds the last few.
  #forget() {
    for (const [key, { url }] of [...this.#results].slice(0, -RESULTS_KEPT)) {
      if (url === this.#part(".before").src) continue;
      URL.revokeObjectURL(url);
      this.#results.delete(key);
    }
  }

  #showClasses() {
    const fieldset = this.#part(".classes");
    const { classes } = this.#served;
    fieldset.hidden = !classes.some((each) => each.served);
    fieldset.append(this.#classRow(AUTO, "the router’s choice", null, true));
    for (const { name, served } of classes) {
      const score = this.#route.scores[name] ?? 0;
      fieldset.append(this.#classRow(name, served ? share(score) : "no model", score, served));
    }
    const { label } = this.#route;
    this.#part(".seen").textContent = label ? `The router sees: ${label}.` : "";
    this.#part(".seen").hidden = !label;
  }

  #classRow(name, words, score, served) {
    const row = instance("class-template");
    const radio = row.querySelector("input");
    Object.assign(radio, {
      name: `${this.#id}-class`,
      value: name,
      checked: name === this.#choice,
      disabled: !served,
    });
    row.querySelector(".class-name").textContent = name;
    row.querySelector(".share").textContent = words;
    row.classList.toggle("auto", score === null);
    row.classList.toggle("best", name === this.#route.class);
    row.querySelector(".bar").style.setProperty("--share", String(score ?? 0));
    return row;
  }

  async #showPicture(picture) {
    const after = this.#part(".after");
    const next = new Image();
    next.src = picture.url;
    await next.decode().catch(() => {
      throw new Failure("This browser can’t show the coloured picture.");
    });
    after.src = picture.url;
    after.alt = `${this.#file.name}, in colour`;
    if (!(await this.#previewed)) this.#previewFrom(picture, next);
    after.hidden = false;
    await after.decode().catch(() => {});
    this.#reveal();
  }

  // If the browser cannot show the file, "before" is the coloured picture, turned gray again.
  #previewFrom(picture, image) {
    const before = this.#part(".before");
    before.src = picture.url;
    before.hidden = false;
    this.#part(".no-preview").hidden = true;
    this.#element.classList.remove("blind");
    this.#shape(image);
  }

  #reveal() {
    if (this.#revealed) return;
    this.#revealed = true;
    const slider = this.#part(".slider");
    slider.hidden = false;
    slider.value = String(FIRST_SPLIT);
    this.#part(".stack").classList.add("revealed", "revealing");
    this.#split(FIRST_SPLIT);
  }

  #split(value) {
    this.#part(".stack").style.setProperty("--split", `${value}%`);
    this.#part(".slider").setAttribute("aria-valuetext", `${Math.round(100 - value)}% in colour`);
  }

  #finish(kind, picture) {
    this.#part(".model-name").textContent = picture.model;
    this.#part(".model").hidden = false;
    this.#part(".vividness").hidden = false;
    this.#hints.offer();
    this.#showNote(picture.note);
    offerDownload(this.#part(".download"), this.#file, picture, "");
    const comparable = this.#served.kinds.length > 1;
    this.#part(".compare").hidden = false;
    this.#part(".compare").disabled = !comparable;
    this.#part(".compare-hint").hidden = comparable;
    this.#enter("done", this.#verdict(kind, picture));
    this.#services.announce(`${this.#file.name}: ${this.#part(".state").textContent}.`);
    if (!this.#part(".comparison").hidden) this.#compare();
  }

  #showNote(note) {
    const words = [note ?? "", this.#page ? "the file has several pages; this is the first" : ""];
    const said = words.filter(Boolean).join("; ");
    this.#part(".file-note").textContent = said && `About the file: ${said}.`;
    this.#part(".file-note").hidden = !said;
  }

  #verdict(kind, picture) {
    const [name] = picture.model.split("@");
    if (kind !== "assembled") return `Coloured by the ${name} model`;
    if (this.#choice !== AUTO) return `Coloured as ${name}, as you chose`;
    if (picture.photoClass !== name) return `The router is unsure; coloured as ${name}`;
    return `Coloured as ${name}`;
  }

  #toggleComparison() {
    const comparison = this.#part(".comparison");
    comparison.hidden = !comparison.hidden;
    this.#part(".compare").setAttribute("aria-expanded", String(!comparison.hidden));
    if (comparison.hidden) this.#comparing.abort();
    else this.#compare();
  }

  #compare() {
    this.#comparing.abort();
    this.#comparing = new AbortController();
    const figures = this.#served.kinds.map((kind) => this.#comparedFigure(kind));
    this.#part(".comparison").replaceChildren(...figures);
  }

  #comparedFigure(kind) {
    const figure = instance("compared-template");
    const [title, words] = KINDS[kind];
    figure.querySelector(".kind").textContent = title;
    figure.querySelector(".kind-words").textContent = words;
    const ratio = this.#part(".stack").style.getPropertyValue("--ratio");
    figure.querySelector(".compared-picture").style.setProperty("--ratio", ratio);
    figure.querySelector(".retry").addEventListener("click", () => this.#fill(figure, kind));
    this.#fill(figure, kind);
    return figure;
  }

  async #fill(figure, kind) {
    const { signal } = this.#comparing;
    const { queue, announce } = this.#services;
    figure.querySelector(".retry").hidden = true;
    figure.querySelector(".failure-words").textContent = "";
    figure.setAttribute("aria-busy", "true");
    try {
      const picture = await queue.run(() => this.#result(kind, { signal }), { first: true });
      signal.throwIfAborted();
      showCompared(figure, this.#file, picture, kind);
    } catch (error) {
      if (signal.aborted) return;
      figure.querySelector(".failure-words").textContent = inWords(error);
      figure.querySelector(".retry").hidden = false;
      announce(`${this.#file.name}, ${kind}: ${inWords(error)}`);
    }
    figure.setAttribute("aria-busy", "false");
  }

  #enter(state, words) {
    this.state = state;
    this.#element.dataset.state = state;
    this.#element.setAttribute("aria-busy", String(state !== "done" && state !== "failed"));
    this.#part(".state").textContent = words;
    this.#services.changed(this);
  }

  #fail(error) {
    this.#part(".failure-words").textContent = inWords(error);
    this.#part(".failure").hidden = false;
    this.#enter("failed", this.#revealed ? "Not coloured anew" : "Not coloured");
    this.#services.announce(`${this.#file.name} is not coloured. ${inWords(error)}`);
  }

  #remove() {
    this.#colouring.abort();
    this.#comparing.abort();
    URL.revokeObjectURL(this.#originalUrl);
    for (const { url } of this.#results.values()) URL.revokeObjectURL(url);
    this.#services.removed(this);
  }
}

// Import the template instead of cloning it: the document of a template loads no images.
function instance(template) {
  return document.importNode(document.getElementById(template).content.firstElementChild, true);
}

function share(score) {
  return score > 0 && score < 0.005 ? "< 1%" : percent.format(score);
}

function waitingFor(seconds) {
  return `The server is busy; trying again in ${Math.max(1, Math.round(seconds))} s`;
}

function showCompared(figure, file, picture, kind) {
  const image = figure.querySelector("img");
  image.src = picture.url;
  image.alt = `${file.name}, coloured by ${picture.model}`;
  image.hidden = false;
  figure.querySelector(".model-name").textContent = picture.model;
  offerDownload(figure.querySelector(".download"), file, picture, `-${kind}`);
}

function offerDownload(link, file, picture, suffix) {
  const stem = file.name.replace(/\.[^.]*$/, "") || "photo";
  link.href = picture.url;
  link.download = `${stem}-colored${suffix}.png`;
  link.setAttribute("aria-label", `Download ${link.download}`);
  link.hidden = false;
}

function inWords(error) {
  if (error instanceof Failure) return error.message;
  console.error(error);
  return "This page failed at it; its console says why.";
}

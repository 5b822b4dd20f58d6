import { Card } from "./card.js";
import { distinct, save } from "./downloads.js";
import { inWords } from "./words.js";
import { zip } from "./zip.js";

const ARCHIVE = "colorgan.zip";

// The cards of all photographs, with what can be done with all of them.
// `services` are those of a card, without changed(card) and removed(card).
export class Board {
  #cards = [];
  #services;
  #emptied;

  // `emptied()` is called when the last card is removed.
  constructor(services, emptied) {
    const changed = () => this.#show();
    this.#services = { ...services, changed, removed: (card) => this.#remove(card) };
    this.#emptied = emptied;
    byId("download-all").addEventListener("click", () => this.#downloadAll());
    byId("retry-all").addEventListener("click", () => {
      for (const card of this.#of("failed")) card.colour();
      this.#cards[0].focus();
    });
    byId("remove-all").addEventListener("click", () => {
      for (const card of [...this.#cards]) card.remove();
    });
  }

  add(files) {
    const added = files.map((file) => new Card(file, this.#services));
    this.#cards.push(...added);
    byId("cards").append(...added.map((card) => card.element));
    byId("results").hidden = false;
    for (const card of added) card.colour();
    const isFirst = this.#cards.length === added.length;
    if (isFirst) byId("results").scrollIntoView({ block: "start" });
    else added[0].element.scrollIntoView({ block: "nearest" });
  }

  #of(state) {
    return this.#cards.filter((card) => card.state === state);
  }

  #remove(card) {
    const place = this.#cards.indexOf(card);
    this.#cards.splice(place, 1);
    card.element.remove();
    byId("results").hidden = !this.#cards.length;
    this.#show();
    const neighbour = this.#cards[Math.min(place, this.#cards.length - 1)];
    if (neighbour) neighbour.focus();
    else this.#emptied();
  }

  #show() {
    const [all, done] = [this.#cards.length, this.#of("done").length];
    const failed = this.#of("failed").length;
    const many = all > 1;
    byId("cards").classList.toggle("many", many);
    byId("of-all").hidden = !many;
    byId("download-all").disabled = !done;
    const words = done && done < all ? `Download ${done} of ${all}` : "Download all";
    byId("download-all").textContent = words;
    byId("retry-all").hidden = failed < 2;
    byId("retry-all").textContent = `Try ${failed} again`;
    const tally = `${done} of ${all} coloured${failed ? `, ${failed} not` : ""}`;
    byId("tally").textContent = many ? tally : "";
  }

  async #downloadAll() {
    const files = this.#of("done").map((card) => card.download);
    const names = distinct(files.map(({ name }) => name));
    const note = byId("all-note");
    note.textContent = "";
    try {
      const archive = await zip(files.map(({ blob }, place) => ({ name: names[place], blob })));
      save(archive, ARCHIVE);
      note.textContent = `${ARCHIVE} holds ${files.length} photographs.`;
    } catch (error) {
      note.textContent = inWords(error);
    }
  }
}

function byId(id) {
  return document.getElementById(id);
}

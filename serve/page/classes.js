import { shares } from "./shares.js";
import { instance } from "./templates.js";

export const AUTO = "auto";
export const OBJECTS = "objects"; // a kind of model, and no class has this name

// The classes of a photograph with the router's shares, of which the user can choose one.
// `changed()` is called when another one is chosen.
export class Classes {
  choice = AUTO;
  sure = true; // whether the router took the class with the highest score
  #fieldset;
  #name;
  #route = null;

  constructor(card, id, changed) {
    this.#fieldset = card.querySelector(".classes");
    this.#name = `${id}-class`;
    this.#fieldset.addEventListener("change", (event) => {
      this.choice = event.target.value;
      changed();
    });
  }

  // Show the answer of the router for the classes of the service, and objects as a choice if they
  // can be found.
  show(classes, route, withObjects) {
    if (route === this.#route) return; // else a chosen class would lose the focus
    this.#route = route;
    const whole = shares(classes.map(({ name }) => route.scores[name] ?? 0));
    this.sure = Object.values(route.scores).every((score) => score <= route.scores[route.class]);
    this.#fieldset.hidden = !classes.some((each) => each.served);
    this.#fieldset.replaceChildren(
      this.#fieldset.querySelector("legend"),
      this.#row(AUTO, "the router’s choice", null),
      ...classes.map(({ name, served }, place) => {
        const row = this.#row(name, `${whole[place]}%`, whole[place], served);
        row.classList.toggle("best", name === route.class);
        return row;
      }),
      ...(withObjects ? [this.#row(OBJECTS, "each by its own model", null)] : []),
    );
  }

  #row(name, words, share, served = true) {
    const row = instance("class-template");
    const checked = name === this.choice;
    const radio = { name: this.#name, value: name, checked, disabled: !served };
    Object.assign(row.querySelector("input"), radio);
    const shown = name === OBJECTS ? "by objects" : name;
    row.querySelector(".class-name").textContent = served ? shown : `${shown} (no model)`;
    row.querySelector(".share").textContent = words;
    row.querySelector(".bar").style.setProperty("--share", `${share ?? 0}%`);
    row.classList.toggle("auto", share === null);
    return row;
  }
}

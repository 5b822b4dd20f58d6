// The objects that were found in a photograph: boxes over the picture, and the same in words.
export class Objects {
  #panel;
  #boxes;
  #words;

  constructor(card) {
    this.#panel = card.querySelector(".objects");
    this.#words = card.querySelector(".objects-words");
    this.#boxes = card.querySelector(".boxes");
    const shown = this.#panel.querySelector("input");
    shown.addEventListener("change", () => {
      this.#boxes.hidden = !shown.checked;
    });
  }

  // Show objects as the service tells them, in a picture of a width and a height in pixels; null if
  // none were looked for.
  show(objects, [width, height]) {
    this.#panel.hidden = objects === null;
    this.#panel.querySelector("label").hidden = !objects?.length;
    this.#boxes.replaceChildren(...(objects ?? []).map((each) => boxOf(each, width, height)));
    this.#words.textContent = objects?.length
      ? `Found: ${objects.map(nameOf).join(", ")}. The general model coloured the rest.`
      : "No object was found, so the general model coloured all of it.";
  }
}

function boxOf(object, width, height) {
  const [left, top, right, bottom] = object.box;
  const sides = {
    left: left / width,
    top: top / height,
    right: 1 - right / width,
    bottom: 1 - bottom / height,
  };
  const box = document.createElement("span");
  for (const [side, share] of Object.entries(sides)) box.style[side] = `${100 * share}%`;
  const name = document.createElement("span");
  name.textContent = nameOf(object);
  box.append(name);
  return box;
}

function nameOf({ class: photoClass, label, score }) {
  const name = label === photoClass ? label : `${label} (${photoClass})`;
  return `${name} ${Math.round(100 * score)}%`;
}

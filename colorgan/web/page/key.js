// Ask the user for the API key in a form at the top of the page; resolves with the key.
export function askForKey(words) {
  const form = document.createElement("form");
  form.id = "key";
  form.className = "notice";
  const label = document.createElement("label");
  label.htmlFor = "key-field";
  label.textContent = words;
  const field = document.createElement("input");
  Object.assign(field, {
    id: "key-field",
    className: "field",
    type: "password",
    autocomplete: "off",
    spellcheck: false,
    required: true,
    pattern: "\\S+",
    title: "letters, digits and signs, no spaces",
  });
  const button = document.createElement("button");
  button.className = "primary";
  button.textContent = "Continue";
  const row = document.createElement("div");
  row.className = "row";
  row.append(field, button);
  form.append(label, row);
  document.querySelector("main").prepend(form);
  field.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.remove();
      resolve(field.value.trim());
    });
  });
}

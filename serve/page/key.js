// Ask the person for the API key, in the form that every page with an API has; resolves with it.
export function askForKey(words) {
  const form = document.getElementById("key");
  const field = document.getElementById("key-field");
  document.getElementById("key-words").textContent = words;
  form.hidden = false;
  field.value = "";
  field.focus();
  return new Promise((resolve) => {
    const take = (event) => {
      event.preventDefault();
      form.removeEventListener("submit", take);
      form.hidden = true;
      resolve(field.value.trim());
    };
    form.addEventListener("submit", take);
  });
}

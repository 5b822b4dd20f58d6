const BASE = location.pathname.replace(/\/+$/, "");
const TIMEOUT_MS = 30_000;
const SIDE_BY_SIDE = 4;

// A click as early as this is the second half of a double click on the previous pictures.
const TOO_SOON_MS = 300;

const BACK = "back";
const CANNOT_TELL = "cannot tell";

// An error with a sentence for the user; the status is 0 if the server did not answer.
class Failure extends Error {
  constructor(words, status = 0) {
    super(words);
    this.status = status;
  }
}

document.addEventListener("keydown", pressed);
run();

async function run() {
  const survey = await insist(() => request("/questions", (response) => response.json()));
  if (survey.closed) return end("This survey is closed", "It takes no more answers.");
  const { questions } = survey;
  const given = new Map(); // the choices of this display, by the question's place
  for (let place = 0; ; ) {
    const progress = [survey.answered + place, survey.total];
    if (place === questions.length) {
      showProgress(...progress);
      await end("Thank you", "Your answers are stored. You can close this page.", place > 0);
      place -= 1;
      continue;
    }
    const question = questions[place];
    const images = await insist(() => load(question));
    preload(questions[place + 1]);
    const choice = await ask(images, progress, given.get(place), place > 0);
    if (choice === BACK) {
      place -= 1;
      continue;
    }
    try {
      if (choice !== given.get(place)) await insist(() => send(question, choice, given.has(place)));
    } catch (error) {
      if (error.status !== 409) throw error;
      return end("This survey is closed", "It takes no more answers. Those you gave before count.");
    }
    given.set(place, choice);
    place += 1;
  }
}

function byId(id) {
  return document.getElementById(id);
}

// Retry until the work succeeds, each time that the user asks or the network comes back.
async function insist(work) {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Failure) || error.status === 409) throw error;
      await showTrouble(error);
      // The server would reject the same request again; only a new display helps.
      if (error.status >= 400 && error.status < 500) location.reload();
    }
  }
}

function showTrouble(error) {
  byId("waiting").hidden = true;
  byId("trouble-words").textContent = error.message;
  byId("trouble").hidden = false;
  byId("trouble").scrollIntoView({ block: "nearest" });
  byId("retry").focus({ preventScroll: true });
  return new Promise((resolve) => {
    const again = () => {
      byId("retry").removeEventListener("click", again);
      removeEventListener("online", again);
      byId("trouble").hidden = true;
      resolve();
    };
    byId("retry").addEventListener("click", again);
    addEventListener("online", again);
  });
}

async function request(path, read, options = {}) {
  let response;
  try {
    response = await fetch(BASE + path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.ok) return await read(response);
  } catch {
    throw new Failure("The server can’t be reached. Nothing is lost.");
  }
  const problem = await response.json().catch(() => ({}));
  const words = problem.detail ?? `the server answered ${response.status}`;
  throw new Failure(`${words.charAt(0).toUpperCase()}${words.slice(1)}.`, response.status);
}

function send({ question, pictures }, choice, again) {
  const token = choice === CANNOT_TELL ? null : pictures[choice];
  return request("/answers", (response) => response.json(), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ question, token, again }),
  });
}

// The decoded images of a question, which are requested only once.
function load(question) {
  question.images ??= Promise.all(question.pictures.map(loadImage)).catch((error) => {
    question.images = null;
    throw error;
  });
  return question.images;
}

function preload(question) {
  if (question) load(question).catch(() => {}); // `load` is called again when the question is shown
}

async function loadImage(token) {
  const image = new Image();
  image.alt = "";
  image.src = URL.createObjectURL(
    await request(`/pictures/${token}`, (response) => response.blob()),
  );
  try {
    await image.decode();
  } catch {
    throw new Failure("This browser can’t show a picture.");
  } finally {
    URL.revokeObjectURL(image.src);
  }
  return image;
}

// Show a question, and the choice made before; resolves with the index of the chosen picture,
// CANNOT_TELL or BACK.
function ask(images, progress, before, canGoBack) {
  showProgress(...progress);
  const buttons = images.map(choiceOf);
  const columns = images.length > SIDE_BY_SIDE ? Math.ceil(images.length / 2) : images.length;
  const pictures = byId("pictures");
  pictures.classList.remove("answered");
  pictures.style.setProperty("--count", String(images.length));
  pictures.style.setProperty("--columns", String(columns));
  pictures.style.setProperty("--rows", String(Math.ceil(images.length / columns)));
  const ratio = images[0].naturalWidth / images[0].naturalHeight;
  pictures.style.setProperty("--ratio", String(ratio));
  pictures.replaceChildren(...buttons);
  byId("waiting").hidden = true;
  byId("end").hidden = true;
  byId("question").hidden = false;
  scrollTo(0, 0);
  byId("asked").focus({ preventScroll: true });
  byId("back").hidden = !canGoBack;
  const choices = new Map([...buttons.entries(), [CANNOT_TELL, byId("cannot-tell")], [BACK, byId("back")]]);
  const all = [...choices.values()];
  enable(all, false);
  for (const [choice, button] of choices) {
    button.classList.toggle("chosen", choice === before);
    if (choice === before) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  setTimeout(() => enable(all, true), TOO_SOON_MS);
  return new Promise((resolve) => {
    for (const [choice, button] of choices) {
      button.onclick = () => {
        enable(all, false);
        for (const each of all) each.classList.toggle("chosen", each === button && choice !== BACK);
        pictures.classList.add("answered");
        resolve(choice);
      };
    }
  });
}

function choiceOf(image, place) {
  const template = byId("choice-template");
  const button = document.importNode(template.content.firstElementChild, true);
  button.setAttribute("aria-label", `Picture ${place + 1}`);
  button.setAttribute("aria-keyshortcuts", String(place + 1));
  button.querySelector(".number").textContent = String(place + 1);
  button.prepend(image);
  return button;
}

function enable(buttons, enabled) {
  for (const button of buttons) button.disabled = !enabled;
}

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const buttons = [...byId("pictures").children];
  if (event.repeat && ["Enter", " "].includes(event.key)) event.preventDefault();
  else if (byId("question").hidden) return;
  else if (/^[1-9]$/.test(event.key) && !event.repeat) buttons[Number(event.key) - 1]?.click();
  else if (event.key === "0" && !event.repeat) byId("cannot-tell").click();
  else if (event.key === "Backspace" && !event.repeat && !byId("back").hidden) byId("back").click();
  else if (["ArrowRight", "ArrowDown"].includes(event.key)) step(event, buttons, 1);
  else if (["ArrowLeft", "ArrowUp"].includes(event.key)) step(event, buttons, -1);
}

// Move the focus to the next or previous picture, wrapping around at the ends.
function step(event, buttons, by) {
  if (!buttons.length || buttons[0].disabled) return;
  event.preventDefault();
  const place = buttons.indexOf(document.activeElement);
  const next = place < 0 && by < 0 ? buttons.length - 1 : place + by;
  buttons[(next + buttons.length) % buttons.length].focus();
}

function showProgress(done, total) {
  byId("count").textContent = done < total ? `${done + 1} of ${total}` : `${total} of ${total}`;
  byId("bar").max = total;
  byId("bar").value = done;
  byId("progress").hidden = false;
}

// Show the end; resolves if the user goes back from it.
function end(title, words, canGoBack = false) {
  byId("waiting").hidden = true;
  byId("question").hidden = true;
  byId("pictures").replaceChildren();
  byId("end-title").textContent = title;
  byId("end-words").textContent = words;
  byId("end").hidden = false;
  byId("end-back").hidden = !canGoBack;
  byId("end-title").focus({ preventScroll: true });
  return new Promise((resolve) => {
    byId("end-back").onclick = () => resolve();
  });
}

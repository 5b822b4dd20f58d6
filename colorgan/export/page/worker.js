// Runs the models in a thread of their own, so that the page stays responsive; see models.js.

import { env, InferenceSession, Tensor } from "./onnxruntime.js";
import { recolor } from "./color.js";
import { decoded, encoded } from "./picture.js";
import { squareOf } from "./scaling.js";
import { Unable } from "./unable.js";

const WEIGHTS = "weights.bin"; // of all the models, which share most of them
const tasks = { load, classify, colorize };
const files = new Map();
const sessions = new Map();
let models;
let last = Promise.resolve(); // photographs are coloured one after the other

self.addEventListener("message", ({ data: { call, task, values } }) => {
  last = last.then(async () => {
    try {
      postMessage({ call, value: await tasks[task](...values) });
    } catch (error) {
      if (!(error instanceof Unable)) console.error(error);
      const words = error instanceof Unable ? error.message : "The models failed at it.";
      postMessage({ call, failure: words });
    }
  });
});

// Load everything, after which the network is needed no more; returns models.json.
async function load() {
  models = await (await answerTo("models.json")).json();
  const names = Object.keys(models.files);
  const total = names.reduce((sum, name) => sum + models.files[name], 0);
  let loaded = 0;
  const count = (bytes) => postMessage({ loaded: (loaded += bytes), total });
  await Promise.all(names.map(async (name) => files.set(name, await contentOf(name, count))));
  env.wasm.numThreads = 1; // several need headers that no plain server of files sends
  env.wasm.wasmBinary = files.get("onnxruntime.wasm").buffer;
  return models;
}

async function answerTo(name) {
  let response;
  try {
    response = await fetch(new URL(name, import.meta.url));
  } catch {
    throw new Unable(`${name} can’t be loaded: the server can’t be reached.`);
  }
  if (!response.ok) {
    throw new Unable(`${name} can’t be loaded: the server answered ${response.status}.`);
  }
  return response;
}

async function contentOf(name, count) {
  const content = new Uint8Array(models.files[name]);
  const reader = (await answerTo(name)).body.getReader();
  let place = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    if (place + read.value.length > content.length) break;
    content.set(read.value, place);
    place += read.value.length;
    count(read.value.length);
  }
  if (place === content.length) return content;
  throw new Unable(`${name} is not the file that models.json names. Export the page anew.`);
}

async function classify(file) {
  const { router } = models;
  const square = squareOf(await decoded(file), router);
  const scores = Array.from(await run("router", square, router.size));
  const best = Math.max(...scores);
  const sure = best >= router.threshold;
  const winner = sure ? router.classes[scores.indexOf(best)] : router.fallback;
  return {
    class: winner,
    score: scores[router.classes.indexOf(winner)],
    scores: Object.fromEntries(router.classes.map((name, place) => [name, scores[place]])),
    label: null,
  };
}

async function colorize(file, { photoClass, vividness, format }) {
  const generator = models.generators[photoClass];
  if (!generator) throw new Unable(`There is no model of ${photoClass} here: choose another class.`);
  const { size, model } = generator;
  const image = await decoded(file);
  const color = await run(photoClass, squareOf(image, { size }), size);
  recolor(image, color, size, vividness);
  return { blob: await encoded(image, format), model, photoClass };
}

// The output of a model for one photograph.
async function run(name, square, size) {
  if (!sessions.has(name)) {
    const externalData = [{ path: WEIGHTS, data: files.get(WEIGHTS) }];
    sessions.set(name, await InferenceSession.create(files.get(`${name}.onnx`), { externalData }));
  }
  const session = sessions.get(name);
  const photographs = new Tensor("uint8", square, [1, 3, size, size]);
  const outputs = await session.run({ photographs });
  return outputs[session.outputNames[0]].data;
}

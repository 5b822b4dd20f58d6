import { Api } from "/shared/api.js";
import { askForKey } from "/shared/key.js";
import { isLocal, openLocal } from "./local.js";

// What routes and colours the photographs of the page, which asks nothing else for it:
//   served()                       {names, kinds, classes: [{name, served}], noisy: [name]}
//   classify(file, wish, options)  {class, scores: {name: score}, label}
//   colorize(file, wish, options)  {blob, model, photoClass, note, objects}
//   variants(file, wish, options)  [blob], small, if the model of the wish is one of `noisy`
// `wish` is {model, photoClass, vividness, hints, restore, page, variant}: a kind of `kinds`, a class
// or "auto", a factor from 0 to 2, a JSON array of points or "", how an old print is mended, a page's
// number or null, and a variant's number; `classify` uses `restore` and `page`. `options` are
// {signal, onWait(seconds)}, and for variants also {count, side}. `objects` are null unless the model
// is "objects": [{class, label, score, box: [left, top, right, bottom]}]. All return promises, and
// reject with a Failure, whose message is a sentence for the user. `openService` may itself return a
// promise.
export function openService() {
  return isLocal() ? openLocal() : new Api(askForKey);
}

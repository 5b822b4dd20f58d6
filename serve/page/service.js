import { Api } from "/shared/api.js";
import { askForKey } from "/shared/key.js";
import { isLocal, openLocal } from "./local.js";

// What routes and colours the photographs of the page, which asks nothing else for it:
//   served()                       {names, kinds, classes: [{name, served}]}
//   classify(file, wish, options)  {class, scores: {name: score}, label}
//   colorize(file, wish, options)  {blob, model, photoClass, note}
// `wish` is {model, photoClass, vividness, hints, restore, page}: a kind of `kinds`, a class or
// "auto", a factor from 0 to 2, a JSON array of points or "", how an old print is mended, and a
// page's number or null; `classify` uses the last two. `options` are {signal, onWait(seconds)}. All
// return promises, and reject with a Failure, whose message is a sentence for the user. `openService`
// may itself return a promise.
export function openService() {
  return isLocal() ? openLocal() : new Api(askForKey);
}

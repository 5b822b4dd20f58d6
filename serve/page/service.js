import { Api } from "/shared/api.js";
import { askForKey } from "/shared/key.js";

// What routes and colours the photographs of the page, which asks nothing else for it:
//   served()                       {names, kinds, classes: [{name, served}]}
//   classify(file, page, options)  {class, scores: {name: score}, label}
//   colorize(file, wish, options)  {blob, model, photoClass, note}
// `wish` is {model, photoClass, vividness, hints, page}: a kind of `kinds`, a class or "auto", a
// factor from 0 to 2, a JSON array of points or "", and a page's number or null. `options` are
// {signal, onWait(seconds)}. All return promises, and reject with a Failure, whose message is a
// sentence for the user. `openService` may itself return a promise.
export function openService() {
  return new Api(askForKey);
}

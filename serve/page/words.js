import { Failure } from "/shared/api.js";

// What went wrong, for the user.
export function inWords(error) {
  if (error instanceof Failure) return error.message;
  console.error(error);
  return "This page failed at it; its console says why.";
}

// An error with a sentence for the user.
export class Unable extends Error {}

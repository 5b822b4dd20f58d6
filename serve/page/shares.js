// Scores as whole percentages that add up to 100, by the largest remainder. Scores need not add up
// to 1: that of a router by labels is the probability of a class's best label.
export function shares(scores) {
  const total = scores.reduce((sum, score) => sum + score, 0);
  if (!(total > 0)) return scores.map(() => 0);
  const exact = scores.map((score) => (100 * score) / total);
  const whole = exact.map(Math.floor);
  const missing = 100 - whole.reduce((sum, each) => sum + each, 0);
  const byRemainder = exact
    .map((share, place) => [share - whole[place], place])
    .sort(([left], [right]) => right - left);
  for (const [, place] of byRemainder.slice(0, missing)) whole[place] += 1;
  return whole;
}

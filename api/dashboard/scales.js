// Scales from values to pixels, and the values at which grid lines are drawn.

// Ticks from zero to a round number that is at least the greatest value.
export function counting(values) {
  const most = Math.max(1, ...values);
  const step = roundUp(most / 3);
  const top = Math.ceil(most / step) * step;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, place) => place * step);
  return { ticks, share: (value) => value / top };
}

function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((times) => times * unit >= value) * unit;
  return Math.max(1, step);
}

// A logarithmic scale, so that milliseconds and minutes can be read from the same chart.
export function decades(values) {
  const found = values.filter((value) => value !== null).map((value) => Math.max(1, value));
  const low = found.length ? Math.floor(Math.log10(Math.min(...found))) : 0;
  const high = Math.max(low + 1, found.length ? Math.ceil(Math.log10(Math.max(...found))) : 3);
  const step = high - low > 4 ? 2 : 1;
  const ticks = [];
  for (let power = low; power <= high; power += step) ticks.push(10 ** power);
  return { ticks, share: (value) => (Math.log10(Math.max(1, value)) - low) / (high - low) };
}

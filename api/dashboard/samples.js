// Reads the service's metrics, in the Prometheus text format, as far as pages need them.

const SAMPLE = /^(\w+)\{(.*)\} (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

// The samples of these metrics: [{name, labels, value}].
export function samplesOf(text, names) {
  return text.split("\n").flatMap((line) => {
    const found = names.some((name) => line.startsWith(`${name}{`)) ? SAMPLE.exec(line) : null;
    if (found === null) return [];
    const labels = Object.fromEntries([...found[2].matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\(.)/g, (_, sign) => (sign === "n" ? "\n" : sign))]));
    return [{ name: found[1], labels, value: Number(found[3]) }];
  });
}

"""Scripts that are run in the page."""

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  const value = (name) => light(style.getPropertyValue(`--${name}`));
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const texts = ["ink", "soft", "accent", "pending", "claimed", "queued", "running", "completed", "failed", "cancelled"];
  const pairs = texts.flatMap((text) => ["ground", "panel", "faint"].map((ground) => [text, ground]));
  pairs.push(["on-accent", "accent"], ["failed", "bad-wash"], ["ink", "wash"], ["soft", "wash"], ["accent", "wash"]);
  return pairs.map(([a, b]) => [a, b, ratio(value(a), value(b))]).filter(([, , found]) => found < 4.5);
}"""

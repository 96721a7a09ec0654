// The theme: light, dark, or auto (the system's setting); remembered by the browser.

const NAME = "jobyard-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function followTheme(button) {
  show(button, stored());
  button.onclick = () => {
    const chosen = NEXT[stored()];
    localStorage.setItem(NAME, chosen);
    show(button, chosen);
  };
}

function stored() {
  const found = localStorage.getItem(NAME);
  return found in NEXT ? found : "auto";
}

function show(button, chosen) {
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  button.textContent = `Theme: ${chosen}`;
}

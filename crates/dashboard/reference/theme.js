// @ts-check
// A plain script at the head of the page: the theme of the dashboard, or else that of the system.
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => {
    try {
      return localStorage.getItem("token-manager.theme");
    } catch {
      return null;
    }
  };
  const follow = () => {
    const theme = kept() ?? (system.matches ? "dark" : "light");
    root.dataset.theme = theme;
    // The class that the style sheet of Swagger UI knows.
    root.classList.toggle("dark-mode", theme === "dark");
  };
  follow();
  addEventListener("storage", follow);
  system.addEventListener("change", follow);
}

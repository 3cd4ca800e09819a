// Loads the page again when there is a newer one, and leaves the reader where they were.
(() => {
  const KEY = "cellscout-scroll";
  const kept = sessionStorage.getItem(KEY);
  if (kept !== null) {
    sessionStorage.removeItem(KEY);
    const back = () => window.scrollTo(0, Number(kept));
    back();
    window.addEventListener("load", () => requestAnimationFrame(back));
  }
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const newest = await (await fetch("/version")).json();
      if (newest.version === VERSION) return;
      sessionStorage.setItem(KEY, String(window.scrollY));
      location.reload();
    } catch {
      // `cellscout watch` has ended: what is shown stays
    }
  }, 2000);
})();

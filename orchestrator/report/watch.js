// Reloads the page when there is a newer version and the reader is idle, and restores its position and sorting.
(() => {
  const KEPT = "cellscout-watch", POLL_MS = 2000, IDLE_MS = 3000;
  const sorted = () => document.querySelector("#leaderboard th[aria-sort]");

  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  if (kept) {
    if (kept.all) document.querySelector("#leaderboard button.all")?.click();
    const button = document.querySelectorAll("#leaderboard th")[kept.column]?.querySelector("button");
    const isRestored = () => sorted()?.cellIndex === kept.column && sorted()?.ariaSort === kept.order;
    for (let clicks = 0; clicks < 2 && !isRestored(); clicks++) button?.click();
    window.scrollTo({ top: kept.top, behavior: "instant" });
  }

  let active = 0;
  ["pointermove", "pointerdown", "keydown", "wheel"].forEach((type) => {
    addEventListener(type, () => { active = Date.now(); }, { passive: true });
  });
  setInterval(async () => {
    if (document.hidden || Date.now() - active < IDLE_MS) return;
    try {
      const newest = await (await fetch("/version")).json();
      if (newest.version === VERSION) return;
    } catch {
      return;  // `cellscout watch` has stopped: keep the page
    }
    const heading = sorted();
    sessionStorage.setItem(KEPT, JSON.stringify({
      top: window.scrollY,
      column: heading?.cellIndex,
      order: heading?.ariaSort,
      all: document.querySelector("#leaderboard table.sortable:not(.short)") !== null,
    }));
    location.reload();
  }, POLL_MS);
})();

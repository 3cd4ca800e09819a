// Loads the page again when there is a newer one, once the reader rests, and leaves them where they were.
(() => {
  const KEPT = "cellscout-watch", LOOK_MS = 2000, REST_MS = 3000;
  const sorted = () => document.querySelector("#leaderboard th[aria-sort]");

  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  if (kept) {
    if (kept.all) document.querySelector("#leaderboard button.all")?.click();
    const button = document.querySelectorAll("#leaderboard th")[kept.column]?.querySelector("button");
    const isAsItWas = () => sorted()?.cellIndex === kept.column && sorted()?.ariaSort === kept.order;
    for (let clicks = 0; clicks < 2 && !isAsItWas(); clicks++) button?.click();
    window.scrollTo({ top: kept.top, behavior: "instant" });
  }

  let active = 0;
  ["pointermove", "pointerdown", "keydown", "wheel"].forEach((type) => {
    addEventListener(type, () => { active = Date.now(); }, { passive: true });
  });
  setInterval(async () => {
    if (document.hidden || Date.now() - active < REST_MS) return;
    try {
      const newest = await (await fetch("/version")).json();
      if (newest.version === VERSION) return;
    } catch {
      return;  // `cellscout watch` has ended: what is shown stays
    }
    const heading = sorted();
    sessionStorage.setItem(KEPT, JSON.stringify({
      top: window.scrollY,
      column: heading?.cellIndex,
      order: heading?.ariaSort,
      all: document.querySelector("#leaderboard table.sortable:not(.short)") !== null,
    }));
    location.reload();
  }, LOOK_MS);
})();

// Loads the page again when there is a newer version and the reader is idle, and restores what the reader has set: the
// place, the order and the filter of the table, the opened rows, and of each plot the zoom, the axis and the legend.
(() => {
  const KEPT = `cellscout-watch ${location.pathname}`, POLL_MS = 2000, IDLE_MS = 3000, TOP = 100;
  const table = document.querySelector("table.sortable");
  const filter = document.querySelector("input.filter");
  const panel = document.getElementById("opened");
  const sorted = () => table?.querySelector("th[aria-sort]");
  const progress = document.querySelector(".progress progress");
  if (progress) document.title = `${Math.round(100 * progress.value)} % · ${document.title}`;

  // A zoom is known by the changes that plotly reports; to fit all data again is not a zoom.
  function noteZoom(place) {
    place.zoom = {};
    place.on("plotly_relayout", (change) => {
      const names = Object.keys(change).filter((name) => /^[xy]axis\d*\./.test(name));
      if (names.some((name) => name.endsWith("autorange"))) place.zoom = {};
      else names.forEach((name) => { place.zoom[name] = change[name]; });
    });
  }

  function state() {
    const section = [...document.querySelectorAll("main section")].filter((one) => one.getBoundingClientRect().top < TOP).pop();
    return {
      section: section?.id, top: section?.getBoundingClientRect().top ?? -scrollY,
      column: sorted()?.cellIndex, order: sorted()?.ariaSort, filter: filter?.value ?? "",
      all: table !== null && !table.classList.contains("short"),
      opened: [...document.querySelectorAll("[data-opened]")].map((one) => one.dataset.opened),
      plots: Object.fromEntries(plots.map((place) => [place.id, {
        zoom: place.zoom, showsError: place.showsError,
        hidden: place.data.filter((trace) => trace.visible === "legendonly").map((trace) => trace.name),
      }])),
    };
  }

  function restoreTable(kept) {
    if (kept.all) document.querySelector("button.all")?.click();
    const button = table?.tHead.rows[0].cells[kept.column]?.querySelector("button");
    const isRestored = () => sorted()?.cellIndex === kept.column && sorted()?.ariaSort === kept.order;
    for (let clicks = 0; clicks < 2 && !isRestored(); clicks++) button?.click();
    if (filter && kept.filter) {
      filter.value = kept.filter;
      filter.dispatchEvent(new Event("input"));
    }
  }
  async function restorePlots(kept) {
    for (const place of plots) {
      const { zoom, showsError, hidden } = kept.plots[place.id] ?? {};
      if (zoom === undefined) continue;
      if (showsError !== place.showsError) document.querySelector(`button.error[data-plot="${place.id}"]`)?.click();
      const places = place.data.flatMap((trace, index) => (hidden.includes(trace.name) ? [index] : []));
      if (places.length) await Plotly.restyle(place, { visible: "legendonly" }, places);
      if (Object.keys(zoom).length) await Plotly.relayout(place, zoom);
    }
    await panel?.reopen(kept.opened);
  }
  function restorePlace(kept) {
    const section = document.getElementById(kept.section);
    const top = section ? section.getBoundingClientRect().top : -scrollY;
    scrollBy({ top: top - kept.top, behavior: "instant" });
  }

  history.scrollRestoration = "manual";  // the browser would restore the pixel, although the page has grown above it
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  addEventListener("pagehide", () => {
    const isRestored = document.body.dataset.restored !== undefined;
    sessionStorage.setItem(KEPT, JSON.stringify(isRestored ? state() : kept));
  });
  if (kept) {
    restoreTable(kept);
    restorePlace(kept);
  }
  drawn.then(async () => {
    plots.forEach(noteZoom);
    if (kept) await restorePlots(kept);
    document.body.dataset.restored = "";
  });

  let active = 0;
  ["pointermove", "pointerdown", "keydown", "wheel"].forEach((type) => {
    addEventListener(type, () => { active = Date.now(); }, { passive: true });
  });
  setInterval(async () => {
    if (document.hidden || Date.now() - active < IDLE_MS || document.body.dataset.restored === undefined) return;
    try {
      const newest = await (await fetch("version")).json();
      if (newest.version === VERSION) return;
    } catch {
      return;  // `cellscout watch` has stopped: keep the page
    }
    location.reload();
  }, POLL_MS);
})();

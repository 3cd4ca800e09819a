"use strict";

// Texts that are most of the page are compressed.
async function unpack(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (one) => one.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

// Plots: the JSON of each figure is next to the element that shows it. A place keeps its figure, the marks of opened
// trials, and whether it shows errors.
const CONFIG = {
  responsive: true, displaylogo: false, displayModeBar: matchMedia("(min-width: 900px)").matches ? "hover" : false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};
const plots = [];
async function drawAll() {
  const sources = [...document.querySelectorAll("script[data-for]")];
  if (sources.length) {
    const script = document.createElement("script");
    script.textContent = await unpack("plotly");
    document.head.append(script);
  }
  for (const source of sources) {
    const place = document.getElementById(source.dataset.for);
    const { data, layout } = JSON.parse(source.textContent);
    const scale = document.querySelector(`button.error[data-plot="${place.id}"]`);
    Object.assign(place, { base: data, marks: [], scoreTitle: layout.yaxis?.title?.text, showsError: false });
    Plotly.newPlot(place, data, layout, CONFIG);
    scale?.addEventListener("click", () => showErrors(place, scale, !place.showsError));
    if (scale?.ariaPressed === "true") showErrors(place, scale, true);
    showCells(place);
    plots.push(place);
  }
  document.body.dataset.drawn = "";
}

// Draw again what a place shows, as far as the reader has zoomed.
function redraw(place) {
  const data = [...place.base, ...place.marks];
  return Plotly.react(place, place.showsError ? errorsOf(data) : data, place.layout, CONFIG);
}

// A log scale has no zero, so scores of 1 are drawn at half of the smallest other error.
function errorBounds(data) {
  const errors = data.flatMap((trace) => trace.y).filter((score) => score !== null && score < 1).map((score) => 1 - score);
  return [errors.reduce((one, other) => Math.min(one, other), 1), errors.reduce((one, other) => Math.max(one, other), 0)];
}
function errorsOf(data) {
  const least = errorBounds(data)[0] / 2;
  return data.map((trace) => ({ ...trace, y: trace.y.map((score) => (score === null ? null : Math.max(1 - score, least))) }));
}
function showErrors(place, button, on) {
  place.showsError = on;
  button.ariaPressed = String(on);
  const [least, most] = errorBounds(place.base);
  const dtick = on && most >= 10 * least ? "D2" : null; // ticks at 1, 2 and 5 only, which a narrow axis may miss
  Object.assign(place.layout.yaxis, {
    type: on ? "log" : "linear", dtick, tickformat: on ? "~g" : "", autorange: true,
    title: { ...place.layout.yaxis.title, text: on ? `error: 1 − ${place.scoreTitle}` : place.scoreTitle },
  });
  redraw(place);
}

// Set the size for printing, because plotly does not notice the width of the printed page; low plots leave fewer gaps.
function resize(place, width, height) {
  place.style.height = `${height}px`;
  Plotly.relayout(place, { width, height, autosize: width === null });
}
addEventListener("beforeprint", () => plots.forEach((place) => {
  place.height = place.layout.height;
  resize(place, 680, place.height > 320 && place.height < 500 ? 300 : place.height);
}));
addEventListener("afterprint", () => plots.forEach((place) => resize(place, null, place.height)));

// Show the cells of a trial when the pointer is on its mark, and light its row up.
const card = document.createElement("div");
card.className = "card";
document.body.append(card);
const drawings = new Map([...document.querySelectorAll("[data-cells]")].map((one) => [one.dataset.cells, one]));
function showCells(place) {
  let row;
  place.on("plotly_hover", ({ points, event }) => {
    const drawing = drawings.get(points[0].customdata);
    if (!drawing || !event) return;
    row = drawing.closest("tr");
    row?.classList.add("lit");
    card.replaceChildren(...[...drawing.children].map((one) => one.cloneNode(true)));
    card.style.display = "block";
    card.style.left = `${Math.max(8, Math.min(event.clientX + 18, innerWidth - card.offsetWidth - 8))}px`;
    const below = event.clientY + 64;  // below plotly's own label
    card.style.top = `${below + card.offsetHeight > innerHeight ? event.clientY - card.offsetHeight - 64 : below}px`;
  });
  place.on("plotly_unhover", () => { row?.classList.remove("lit"); card.style.display = "none"; });
}
const drawn = drawAll().catch((error) => {
  console.error(error);
  document.querySelectorAll(".plot").forEach((place) => {
    place.textContent = "This browser cannot unpack the plots; one of 2023 or later can.";
  });
});

// Name the section in sight in the navigation, which stays at the top; on a narrow page it is a menu.
document.querySelectorAll("nav").forEach((navigation) => {
  const menu = navigation.querySelector("button");
  const links = new Map([...navigation.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const open = (isOpen) => { menu.ariaExpanded = String(isOpen); };
  menu.addEventListener("click", () => open(menu.ariaExpanded !== "true"));
  links.forEach((link) => link.addEventListener("click", () => open(false)));
  const observer = new IntersectionObserver((entries) => entries.filter((one) => one.isIntersecting).forEach(({ target }) => {
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(target.id)?.setAttribute("aria-current", "true");
    menu.textContent = links.get(target.id)?.textContent ?? "Sections";
  }), { rootMargin: "-25% 0px -70% 0px" });
  document.querySelectorAll("main section").forEach((section) => observer.observe(section));
});

// Sort tables by their headings, which are buttons so that they work by keyboard.
document.querySelectorAll("table.sortable").forEach((table) => {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button")?.addEventListener("click", () => {
    const before = heading.getAttribute("aria-sort") ?? (heading.dataset.first ? "ascending" : "descending");
    const descending = before === "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.sort;
    const rows = [...table.tBodies[0].rows];
    const numeric = rows.every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
    const compare = numeric ? (a, b) => Number(a) - Number(b) : (a, b) => a.localeCompare(b);
    rows.sort((a, b) => {
      if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");  // unknown values come last
      return (descending ? -1 : 1) * compare(key(a), key(b));
    });
    table.tBodies[0].append(...rows);
  }));
});
// Show only the rows that have all words of the filter; then also those that were left out of a short table.
document.querySelectorAll("input.filter").forEach((input) => input.addEventListener("input", () => {
  const table = input.closest("section").querySelector("table");
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  table.classList.toggle("filtered", words.length > 0);
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
}));
document.querySelectorAll("button.all").forEach((button) => button.addEventListener("click", () => {
  button.closest("section").querySelector("table").classList.remove("short");
  button.remove();
}));

// Copy text. A page opened from disk may have no access to the clipboard API.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button || button.dataset.label) return;
  await copy(button.dataset.copy);
  button.dataset.label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = button.dataset.label; delete button.dataset.label; }, 1500);
});

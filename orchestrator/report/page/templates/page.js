"use strict";

// Plotly is compressed, because it is most of the page.
async function unpackPlotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (one) => one.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
}

// Plots: the JSON of each figure is next to the element that shows it.
const wide = matchMedia("(min-width: 900px)").matches;
let plots = [];
async function draw() {
  const sources = [...document.querySelectorAll("script[data-for]")];
  if (sources.length) await unpackPlotly();
  plots = sources.map((source) => {
    const place = document.getElementById(source.dataset.for);
    const figure = JSON.parse(source.textContent);
    Plotly.newPlot(place, figure.data, figure.layout, {
      responsive: true, displaylogo: false, displayModeBar: wide ? "hover" : false,
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
    showCells(place);
    return place;
  });
  document.body.dataset.drawn = "";
}

// Set the width for printing, because plotly does not notice the width of the printed page.
window.addEventListener("beforeprint", () => plots.forEach((place) => Plotly.relayout(place, { width: 680 })));
window.addEventListener("afterprint", () => plots.forEach((place) => Plotly.relayout(place, { width: null, autosize: true })));

// Show the cells of a trial when the pointer is on its dot.
const card = document.createElement("div");
card.className = "card";
document.body.append(card);
const drawings = new Map([...document.querySelectorAll("[data-cells]")].map((one) => [one.dataset.cells, one]));
function showCells(place) {
  place.on("plotly_hover", ({ points, event }) => {
    const drawing = drawings.get(points[0].customdata);
    if (!drawing || !event) return;
    card.replaceChildren(...[...drawing.children].map((one) => one.cloneNode(true)));
    card.style.display = "block";
    card.style.left = `${Math.max(8, Math.min(event.clientX + 18, innerWidth - card.offsetWidth - 8))}px`;
    const below = event.clientY + 64;  // below plotly's own label
    card.style.top = `${below + card.offsetHeight > innerHeight ? event.clientY - card.offsetHeight - 64 : below}px`;
  });
  place.on("plotly_unhover", () => { card.style.display = "none"; });
}
draw().catch(() => document.querySelectorAll(".plot").forEach((place) => {
  place.textContent = "This browser cannot unpack the plots; one of 2023 or later can.";
}));

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

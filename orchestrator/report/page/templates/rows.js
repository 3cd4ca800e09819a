// Rows of the leaderboard open in a panel, at most two side by side, and are marked in all plots.
(() => {
  const panel = document.getElementById("opened");
  if (!panel) return;
  const COLOURS = ["#e3008c", "#5b2c9f"];
  const table = document.querySelector("#leaderboard table");
  const rowOf = (id) => table.querySelector(`tr[data-trial="${CSS.escape(id)}"]`);
  let opened = [];  // [trial, colour], the older first
  let details = null;

  function element(tag, attributes, ...children) {
    const found = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => found.setAttribute(name, value));
    found.append(...children);
    return found;
  }

  async function toggle(id) {
    if (opened.some(([one]) => one === id)) {
      opened = opened.filter(([one]) => one !== id);
    } else {
      const kept = opened.slice(-(COLOURS.length - 1));
      opened = [...kept, [id, COLOURS.find((colour) => kept.every(([, other]) => other !== colour))]];
    }
    await show();
  }

  async function show() {
    details ??= JSON.parse(await unpack("details"));
    await drawn;
    opened = opened.filter(([id]) => details[id]);
    table.querySelectorAll("tbody tr").forEach((row) => {
      const colour = opened.find(([id]) => id === row.dataset.trial)?.[1] ?? "";
      row.classList.toggle("opened", colour !== "");
      row.style.setProperty("--mark", colour);
      row.querySelector("button.open").ariaExpanded = String(colour !== "");
    });
    const curves = element("div", { class: "plot", id: "opened-curves" });
    panel.replaceChildren(curves, ...opened.map(([id, colour]) => article(id, colour)));
    panel.hidden = opened.length === 0;
    const drawings = [...panel.querySelectorAll("svg.large")];
    const widest = Math.max(...drawings.map((one) => Number(one.style.getPropertyValue("--widest"))));
    drawings.forEach((one) => one.style.setProperty("--widest", widest));
    if (opened.length) drawCurves(curves);
    mark();
  }

  function article(id, colour) {
    const found = details[id];
    const names = [...table.tHead.rows[0].cells].map((heading) => heading.innerText.trim());
    const values = [...rowOf(id).cells].slice(0, -1).map((cell, column) => [names[column], cell.innerText]);
    const facts = [...values, ...Object.entries(found.facts)].filter(([name, value]) => name !== "trial" && value && value !== "-");
    const close = element("button", { type: "button", "aria-label": `Close trial ${id}` }, "Close");
    close.addEventListener("click", () => toggle(id));
    const cells = found.cells.map(([role, svg]) => {
      const figure = element("figure", {}, element("h4", {}, `${role[0].toUpperCase()}${role.slice(1)} cell`));
      figure.insertAdjacentHTML("beforeend", svg);
      return figure;
    });
    return element("article", { style: `--mark: ${colour}`, "data-opened": id },
      element("h3", {}, `Trial ${id} `, close),
      ...(found.error ? [element("p", { class: "message" }, found.error)] : []),
      element("dl", { class: "facts" }, ...facts.map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
      element("div", { class: "drawn" }, ...cells),
      ...Object.entries(found.commands).flatMap(([name, words]) => [
        element("h4", {}, name),
        element("div", { class: "command" }, element("code", {}, words),
          element("button", { type: "button", class: "copy", "data-copy": words }, "Copy")),
      ]));
  }

  function drawCurves(place) {
    const lines = opened.map(([id, colour]) => ({
      x: details[id].epochs, y: details[id].scores, name: `trial ${id}`, mode: "lines+markers", line: { color: colour },
    }));
    Plotly.newPlot(place, lines, {
      height: 200, margin: { l: 56, r: 16, t: 8, b: 40 }, showlegend: false, font: { size: 13 },
      xaxis: { title: { text: "epoch" }, automargin: true }, yaxis: { title: { text: panel.dataset.score }, automargin: true },
    }, { ...CONFIG, displayModeBar: false });
  }

  // Mark the opened trials in the plots: by a ring around a dot, by a thick line, or by a frame of a bar.
  function mark() {
    plots.forEach((place) => {
      const before = place.marks.length;
      place.marks = opened.flatMap(([id, colour]) => place.base.flatMap((trace) => marked(trace, id, colour)));
      if (before || place.marks.length) redraw(place);
    });
  }
  function marked(trace, id, colour) {
    const at = (trace.customdata ?? []).flatMap((one, index) => (one === id ? [index] : []));
    if (!at.length) return [];
    const pick = (name) => at.map((index) => trace[name][index]);
    const { type, xaxis, yaxis } = trace;
    const found = { type, xaxis, yaxis, x: pick("x"), y: pick("y"), hoverinfo: "skip", showlegend: false };
    const line = { color: colour, width: 3 };
    if (type === "bar") {
      return [{ ...found, orientation: "h", base: pick("base"), marker: { color: "rgba(0, 0, 0, 0)", line } }];
    }
    const isLine = trace.mode.includes("lines") && at.length > 1;
    return [{ ...found, mode: isLine ? "lines" : "markers", line, marker: { symbol: "circle-open", size: 17, color: colour, line } }];
  }

  table.tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (getSelection().isCollapsed) toggle(row.dataset.trial);
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !opened.length) return;
    opened = [];
    show();
  });
  drawn.then(() => plots.forEach((place) => place.on("plotly_click", ({ points }) => {
    const id = points[0].customdata;
    if (typeof id === "string" && rowOf(id)) toggle(id);
  })));
  panel.reopen = async (ids) => { for (const id of ids) await toggle(id); };  // for a page that loads itself again
})();

"use strict";
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const style = () => getComputedStyle(document.documentElement);

  // "@c0" and its like stand for the theme's colours.
  const themed = (value, css) => {
    if (typeof value === "string") {
      return /^@[a-z0-9]+$/.test(value) ? css.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((v) => themed(v, css));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, css)]));
    }
    return value;
  };

  const axis = (own, css) => {
    const ink = css.getPropertyValue("--muted").trim();
    const title = Object.assign({ standoff: 8 }, own.title);
    return Object.assign(
      { gridcolor: css.getPropertyValue("--grid").trim(), linecolor: ink, tickcolor: ink, automargin: true,
        zerolinecolor: css.getPropertyValue("--line").trim(), ticks: "outside", ticklen: 4, showline: true },
      own, { title });
  };

  const layoutOf = (own, css) => {
    const font = { family: css.getPropertyValue("--sans").trim(), size: 12.5, color: css.getPropertyValue("--ink").trim() };
    const layout = Object.assign(
      { font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 64, r: 18, t: 64, b: 48 },
        hovermode: "closest", hoverlabel: { align: "left", font: { family: font.family, size: 12.5 } },
        legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: css.getPropertyValue("--muted").trim(),
          activecolor: css.getPropertyValue("--accent").trim() } },
      themed(own, css));
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) layout[key] = axis(layout[key], css);
    }
    return layout;
  };

  const config = {
    responsive: true, displaylogo: false,
    // The buttons are named so that none of those that send a chart elsewhere can appear.
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]], showSendToCloud: false, plotlyServerURL: "",
  };

  // How many rows a legend of these names takes, about: where one is too few, its entries stand in columns.
  const legendRows = (names, width) => {
    const widths = names.map((name) => 46 + 7 * name.replace(/<[^>]*>/g, "").length);
    if (widths.reduce((a, b) => a + b, 0) <= width) return 1;
    return Math.ceil(names.length / Math.max(1, Math.floor(width / Math.max(...widths))));
  };

  // A phone's finger scrolls: it must not zoom instead, and there is no room for buttons.
  const narrow = window.matchMedia("(max-width: 40rem)");

  // What the document hears of points, so that other scripts need not know when a chart is drawn.
  const POINTS = [["plotly_click", "point-click"], ["plotly_hover", "point-hover"], ["plotly_unhover", "point-leave"]];

  const draw = (plot) => {
    const figure = JSON.parse(plot.nextElementSibling.textContent);
    const css = style();
    const layout = layoutOf(figure.layout || {}, css);
    const names = new Set(figure.data.filter((t) => t.name && t.showlegend !== false).map((t) => t.name));
    // The row of buttons is uppermost; a legend goes below it.
    if (names.size < 2) Object.assign(layout, { showlegend: false, margin: { ...layout.margin, t: 28 } });
    else layout.margin = { ...layout.margin, t: 42 + 22 * legendRows([...names], plot.clientWidth - layout.margin.l - layout.margin.r) };
    if (narrow.matches) layout.dragmode = false;
    const shown = { ...config, displayModeBar: narrow.matches ? false : "hover" };
    return Plotly.react(plot, themed(figure.data, css), layout, shown).then(() => {
      for (const svg of plot.querySelectorAll("svg")) svg.setAttribute("aria-hidden", "true"); // it has a label
      if (plot.dataset.told) return;
      plot.dataset.told = "true";
      for (const [theirs, ours] of POINTS) {
        plot.on(theirs, ({ points, event }) => {
          plot.dispatchEvent(new CustomEvent(ours, { bubbles: true, detail: { point: points[0], pointer: event } }));
        });
      }
    });
  };
  const visible = () => [...document.querySelectorAll(".plot")].filter((p) => !p.closest("[hidden]"));
  // One by one, so that the page answers meanwhile.
  const drawAll = async () => {
    for (const plot of visible()) {
      await draw(plot);
      await new Promise((go) => setTimeout(go));
    }
    document.querySelector("#js-plotly-tester")?.setAttribute("aria-hidden", "true");
  };

  for (const group of document.querySelectorAll(".switched")) {
    const buttons = [...group.querySelectorAll(".switch button")];
    const views = [...group.querySelectorAll(".view")];
    buttons.forEach((button, i) => button.addEventListener("click", () => {
      buttons.forEach((b, j) => b.setAttribute("aria-pressed", String(i === j)));
      views.forEach((v, j) => { v.hidden = i !== j; });
      views[i].querySelectorAll(".plot").forEach(draw);
    }));
  }

  const key = (row, i) => {
    const text = row.cells[i].textContent.trim().replace("−", "-");
    const value = parseFloat(text);
    return Number.isNaN(value) || !/^[-+]?[\d.]/.test(text) ? text.toLowerCase() : value;
  };
  const compare = (a, b) => (typeof a === typeof b ? (a > b) - (a < b) : typeof a === "number" ? -1 : 1);

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((cell, i, cells) => {
      cell.querySelector("button").addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "ascending";
        cells.forEach((c) => c.removeAttribute("aria-sort"));
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => compare(key(a, i), key(b, i)) * (down ? -1 : 1));
        body.append(...rows);
      });
    });
    const label = document.createElement("label");
    label.className = "search";
    label.append("Show rows with");
    const field = document.createElement("input");
    field.type = "search";
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
    label.append(field);
    table.closest(".scroll").before(label);
  }

  dark.addEventListener("change", drawAll);
  drawAll().then(() => { document.documentElement.dataset.drawn = String(visible().length); });
})();

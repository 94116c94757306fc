"use strict";
// Each epoch's cutout, model and residual: in a view of their own, and beside the pointer over a light curve.
(() => {
  const epochs = new Map(); // by region and frame: the set that holds it, and its place there
  const sets = new Map(); // by region: its instruments and bands
  for (const element of document.querySelectorAll("script.epoch-pictures")) {
    const set = JSON.parse(element.textContent);
    set.images = [];
    set.frames.forEach((frame, i) => epochs.set(set.roi + "|" + frame, { set, i }));
    sets.set(set.roi, [...(sets.get(set.roi) || []), set]);
  }
  if (!epochs.size) return;

  const sheet = (set, i) => {
    const k = Math.floor(i / set.block);
    if (!set.images[k]) {
      const image = new Image();
      image.src = set.sprites[k];
      set.images[k] = image.decode().then(() => image);
    }
    return set.images[k];
  };

  const GAP = 4;
  const paint = async (canvas, set, i, side) => {
    canvas.dataset.wanted = set.name + "|" + i;
    const image = await sheet(set, i);
    if (canvas.dataset.wanted !== set.name + "|" + i) return; // the reader went on meanwhile
    const n = set.size;
    canvas.width = 3 * side + 2 * GAP;
    canvas.height = side;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    for (let k = 0; k < 3; k++) {
      pen.drawImage(image, k * n, (i % set.block) * n, n, n, k * (side + GAP), 0, side, side);
    }
    canvas.dataset.shown = canvas.dataset.wanted;
  };
  const words = (set) => "data   ·   model   ·   residual ± " + set.limit + " σ";

  // Beside the pointer.
  const peek = document.createElement("div");
  peek.className = "peek";
  peek.hidden = true;
  peek.setAttribute("aria-hidden", "true"); // the view says the same in words
  const small = document.createElement("canvas");
  const line = document.createElement("div");
  peek.append(small, line);
  document.body.append(peek);

  const near = (event) => {
    const { width, height } = peek.getBoundingClientRect();
    const x = Math.min(Math.max(8, event.clientX - width / 2), window.innerWidth - width - 8);
    const below = event.clientY + 96;
    const y = below + height + 8 < window.innerHeight ? below : Math.max(8, event.clientY - 96 - height);
    peek.style.left = x + "px";
    peek.style.top = y + "px";
  };
  document.addEventListener("point-hover", ({ detail: { point, pointer } }) => {
    const found = epochs.get((point.data.meta || [])[0] + "|" + point.customdata);
    if (!found) return;
    const { set, i } = found;
    const side = Math.min(120, Math.floor((window.innerWidth - 48) / 3));
    line.textContent = words(set);
    peek.hidden = false;
    paint(small, set, i, side).then(() => near(pointer));
  });
  for (const gone of ["point-leave", "scroll"]) document.addEventListener(gone, () => { peek.hidden = true; }, { passive: true });

  // The view of one epoch.
  for (const view of document.querySelectorAll(".epochs")) {
    const mine = sets.get(view.dataset.roi);
    const find = (name) => view.querySelector(name);
    const [group, order, which] = [".group", ".order", ".which"].map(find);
    const canvas = find("canvas");
    const about = find(".about");
    let ranks = [];
    const set = () => mine[Number(group.value)];

    const sort = () => {
      const { chi2 } = set();
      ranks = chi2.map((_, i) => i);
      if (order.value === "chi2") ranks.sort((a, b) => (chi2[b] ?? -1) - (chi2[a] ?? -1));
      which.max = String(ranks.length - 1);
    };
    const show = (named) => {
      const at = Math.max(0, Math.min(Number(which.value), ranks.length - 1));
      const now = set();
      const i = ranks[at];
      which.value = String(at);
      which.setAttribute("aria-valuetext", at + 1 + " of " + ranks.length + ": " + now.about[i]);
      find(".scale").textContent = "Left: data, " + String(now.low).replace("-", "−") + " to " + now.high + " e⁻/s on an arcsinh scale. Middle: model. Right: " +
        "data − model, ± " + now.limit + " σ, blue where the model is too bright.";
      about.textContent = now.about[i] + " (" + (at + 1) + " of " + ranks.length + ")";
      canvas.setAttribute("aria-label", "Data, model and residual of " + now.name + ": " + now.about[i]);
      find(".previous").disabled = at === 0;
      find(".next").disabled = at === ranks.length - 1;
      const room = Math.floor((canvas.parentElement.clientWidth - 2 * GAP - 2) / 3);
      paint(canvas, now, i, Math.max(90, Math.min(room, 260)));
      if (named) history.replaceState(null, "", "#epoch/" + encodeURIComponent(now.roi) + "/" + now.frames[i]);
    };
    const step = (by) => { which.value = String(Number(which.value) + by); show(true); };
    const keep = (i) => { sort(); which.value = String(Math.max(0, ranks.indexOf(i))); };

    which.addEventListener("input", () => show(true));
    find(".previous").addEventListener("click", () => step(-1));
    find(".next").addEventListener("click", () => step(1));
    for (const choice of [group, order]) choice.addEventListener("change", () => { sort(); which.value = "0"; show(true); });
    const go = () => {
      const wanted = /^#epoch\/([^/]*)\/(\d+)$/.exec(window.location.hash);
      if (!wanted || decodeURIComponent(wanted[1]) !== view.dataset.roi) return false;
      const found = epochs.get(view.dataset.roi + "|" + wanted[2]);
      if (!found) return false;
      group.value = String(mine.indexOf(found.set));
      keep(found.i);
      show(false);
      view.closest("section").scrollIntoView();
      return true;
    };
    window.addEventListener("hashchange", go);
    window.addEventListener("resize", () => show(false));
    sort();
    if (!go()) show(false);
  }
})();

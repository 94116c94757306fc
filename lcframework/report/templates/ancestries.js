"use strict";
(() => {
  const store = document.getElementById("ancestry-data");
  if (!store) return;
  const dialog = document.getElementById("ancestry");
  const place = dialog.querySelector(".sections");
  const pick = (name) => dialog.querySelector(`[name="${name}"]`);
  const [source, frame, earlier, later] = ["source", "frame", "earlier", "later"].map(pick);
  let content = null;

  // It is unpacked when it is asked for the first time: nothing of it costs while the page is opened.
  const unpack = async () => {
    const bytes = Uint8Array.from(atob(store.textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };

  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const option = (text, value) => Object.assign(element("option", text), { value });
  const several = () => new Set(content.sources.map(([roi]) => roi)).size > 1;

  const prepare = async () => {
    if (content) return;
    content = await unpack();
    source.append(...content.sources.map(([roi, name], i) => option(several() ? `${roi} ${name}` : name, i)));
    frame.append(...content.frames.map(([id, text]) => option(text, id)));
  };

  const show = () => {
    const [roi, name] = content.sources[source.value];
    const id = frame.value;
    const [own, ...model] = (content.own[roi] || {})[name]?.[id] || [];
    const [before, after] = (content.shared[roi] || {})[id] || [[], []];
    place.replaceChildren();
    for (const [title, lines] of [own, ...before, ...model, ...after].filter(Boolean)) {
      const list = document.createElement("dl");
      lines.forEach(([label, text, problem], i) => {
        if (i === 0 || lines[i - 1][0] !== label) list.append(element("dt", label));
        list.append(element("dd", text, problem ? "problem" : ""));
      });
      place.append(element("h3", title), list);
    }
    const at = frame.selectedIndex;
    earlier.disabled = at <= 0;
    later.disabled = at >= frame.options.length - 1;
    document.getElementById("ancestry-title").textContent = `${name} of ${roi}: where it comes from`;
    // A frame that has no number for this region is marked, so that it can be found.
    content.frames.forEach(([, text, having], i) => {
      frame.options[i].textContent = having.includes(roi) ? text : `${text} (no number)`;
    });
    place.scrollTop = 0;
    dialog.dataset.shown = `${roi} ${name} ${id}`;
  };

  const open = async (roi, name, id) => {
    try {
      await prepare();
    } catch (error) {
      place.replaceChildren(element("p", `This browser can't unpack it (${error.message}): \`lcf why\` shows the same.`, "problem"));
      dialog.showModal();
      return;
    }
    const at = content.sources.findIndex(([r, s]) => r === roi && s === name);
    if (at >= 0) source.value = String(at);
    if (id !== undefined) frame.value = String(id);
    show();
    if (!dialog.open) dialog.showModal();
  };

  const step = (by) => { frame.selectedIndex += by; show(); };
  earlier.addEventListener("click", () => step(-1));
  later.addEventListener("click", () => step(1));
  source.addEventListener("change", show);
  frame.addEventListener("change", show);
  for (const button of document.querySelectorAll(".opens-ancestry")) button.addEventListener("click", () => open());
  document.addEventListener("point-click", ({ detail: { point } }) => {
    const whose = point.data.meta;
    if (Array.isArray(whose) && point.customdata !== undefined) open(whose[0], whose[1], point.customdata);
  });
})();

"use strict";
// Time delays by hand: curves of one region's images, shifted in time and magnitude.
(() => {
  const sum = (values) => values.reduce((a, b) => a + b, 0);

  // The first index whose time is not below t.
  const lower = (times, t) => {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < t) low = middle + 1; else high = middle;
    }
    return low;
  };

  // A line fitted to the curve around t with Gaussian weights of width h: its value there and the variance of that;
  // null where the curve has no points within 2 h on both sides.
  const smoothed = (curve, t, h) => {
    const from = lower(curve.t, t - 4 * h), to = lower(curve.t, t + 4 * h);
    let s0 = 0, s1 = 0, s2 = 0, before = false, after = false;
    const near = [];
    for (let i = from; i < to; i++) {
      const d = curve.t[i] - t;
      const w = Math.exp(-0.5 * (d / h) ** 2) / curve.e[i] ** 2;
      if (d <= 0 && d >= -2 * h) before = true;
      if (d >= 0 && d <= 2 * h) after = true;
      s0 += w; s1 += w * d; s2 += w * d * d;
      near.push([i, d, w]);
    }
    if (!before || !after) return null;
    const determinant = s0 * s2 - s1 * s1;
    const flat = determinant <= 1e-9 * s0 * s2; // all at one time: their mean
    let value = 0, variance = 0;
    for (const [i, d, w] of near) {
      const share = flat ? w / s0 : (w * (s2 - s1 * d)) / determinant;
      value += share * curve.m[i];
      variance += share * share * curve.e[i] ** 2;
    }
    return { value, variance };
  };

  // What is left of an image's points, shifted back by its delay, about the reference: [difference, variance] each.
  const differences = (image, reference, delay, h) => {
    const out = [];
    for (let i = 0; i < image.t.length; i++) {
      const found = smoothed(reference, image.t[i] - delay, h);
      if (found) out.push([image.m[i] - found.value, image.e[i] ** 2 + found.variance]);
    }
    return out;
  };
  const meanOf = (parts) => sum(parts.map(([d, v]) => d / v)) / sum(parts.map(([, v]) => 1 / v));
  const median = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };

  const start = (root) => {
    const data = JSON.parse(root.querySelector(".delay-data").textContent);
    const find = (name) => root.querySelector(name);
    const [reference, group, points] = [".reference", ".group", ".points"].map(find);
    const [smoothing, matching, canvas] = [".smoothing", ".matching", "canvas"].map(find);
    const body = find("tbody"), numbers = find(".numbers"), said = find(".said");
    const images = data.sources.map((_, k) => k);
    let delays, shifts, moving = 1, smoothings = { ...data.smoothing };

    const curve = (k, g = Number(group.value)) => data.groups[g][points.value][k];
    const ref = () => Number(reference.value);
    const h = () => Number(smoothing.value) || data.smoothing[points.value];
    const has = (k, g) => curve(k, g).t.length > 0;

    const reset = () => {
      delays = images.map(() => 0);
      // Levels are matched by medians, so that curves lie on each other before anything is fitted.
      shifts = data.groups.map((_, g) => images.map((k) => (
        has(k, g) && has(ref(), g) ? median(curve(k, g).m) - median(curve(ref(), g).m) : 0)));
      if (moving === ref()) moving = images.find((k) => k !== ref());
      if (matching.checked) match(images);
    };

    const known = new Map(); // the last answer for each image and band: most of them don't change when one image moves
    const partsOf = (k, g) => {
      if (!has(k, g) || !has(ref(), g)) return [];
      const asked = [ref(), points.value, delays[k], h()].join("|");
      const last = known.get(k + "|" + g);
      if (last && last.asked === asked) return last.parts;
      const parts = differences(curve(k, g), curve(ref(), g), delays[k], h());
      known.set(k + "|" + g, { asked, parts });
      return parts;
    };
    const measure = (k, g) => {
      const parts = partsOf(k, g);
      const left = parts.map(([d, v]) => [d - shifts[g][k], v]);
      const weight = sum(left.map(([, v]) => 1 / v));
      return {
        count: left.length, parts,
        rms: left.length ? Math.sqrt(sum(left.map(([d, v]) => (d * d) / v)) / weight) : NaN,
        chi2: left.length ? sum(left.map(([d, v]) => (d * d) / v)) / left.length : NaN,
      };
    };
    const match = (which) => {
      data.groups.forEach((_, g) => which.filter((k) => k !== ref()).forEach((k) => {
        const { parts } = measure(k, g);
        if (parts.length) shifts[g][k] = meanOf(parts);
      }));
    };

    // ---- the plot
    const MARGIN = { left: 58, right: 14, top: 12, bottom: 44 };
    let frame = { t: [0, 1], m: [0, 1] };
    let room = { width: 1, height: 1 }; // of the axes, CSS pixels; as of the last drawing
    const perPixel = () => ({ t: (frame.t[1] - frame.t[0]) / room.width, m: (frame.m[1] - frame.m[0]) / room.height });
    const shifted = (k, i) => {
      const own = k === ref() ? [0, 0] : [delays[k], shifts[Number(group.value)][k]];
      return [curve(k).t[i] - own[0], curve(k).m[i] - own[1]];
    };
    const aim = () => {
      const t = [], m = [];
      for (const k of images) curve(k).t.forEach((_, i) => { const [a, b] = shifted(k, i); t.push(a); m.push(b); });
      const range = (values, least) => {
        const low = values.reduce((a, b) => Math.min(a, b), Infinity);
        const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
        const spare = Math.max(0.06 * (high - low), least);
        return [low - spare, high + spare];
      };
      if (t.length) frame = { t: range(t, 0.01), m: range(m, 0.01) };
    };
    const place = ([t, m]) => {
      const { t: [early, late], m: [bright, faint] } = frame; // brighter is up
      return [MARGIN.left + ((t - early) / (late - early)) * room.width,
        MARGIN.top + ((m - bright) / (faint - bright)) * room.height];
    };
    const ticks = ([low, high], count) => {
      const rough = (high - low) / count;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
      const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      const out = [];
      for (let v = Math.ceil(low / step) * step; v <= high; v += step) out.push([v, v.toFixed(digits)]);
      return out;
    };
    const SHAPES = [
      (pen, x, y) => pen.arc(x, y, 3.6, 0, 2 * Math.PI), (pen, x, y) => pen.rect(x - 3.3, y - 3.3, 6.6, 6.6),
      (pen, x, y) => { pen.moveTo(x, y - 4.6); pen.lineTo(x + 4.6, y); pen.lineTo(x, y + 4.6); pen.lineTo(x - 4.6, y); },
      (pen, x, y) => { pen.moveTo(x, y - 4.4); pen.lineTo(x + 4.2, y + 3.4); pen.lineTo(x - 4.2, y + 3.4); }];
    const colour = (css, k) => css.getPropertyValue("--c" + (k % 8)).trim();

    const axes = (pen, css, width, height) => {
      pen.strokeStyle = css.getPropertyValue("--grid").trim();
      pen.fillStyle = css.getPropertyValue("--ink").trim();
      pen.lineWidth = 1;
      pen.textAlign = "center";
      for (const [v, text] of ticks(frame.t, Math.max(2, width / 110))) {
        const [x] = place([v, 0]);
        pen.beginPath(); pen.moveTo(x, MARGIN.top); pen.lineTo(x, MARGIN.top + height); pen.stroke();
        pen.fillText(text, x, MARGIN.top + height + 16);
      }
      pen.textAlign = "right";
      for (const [v, text] of ticks(frame.m, Math.max(2, height / 60))) {
        const [, y] = place([0, v]);
        pen.beginPath(); pen.moveTo(MARGIN.left, y); pen.lineTo(MARGIN.left + width, y); pen.stroke();
        pen.fillText(text, MARGIN.left - 7, y + 4);
      }
      pen.textAlign = "center";
      pen.fillText(data.axis, MARGIN.left + width / 2, MARGIN.top + height + 36);
      pen.save();
      pen.translate(13, MARGIN.top + height / 2);
      pen.rotate(-Math.PI / 2);
      pen.fillText("magnitude of the reference", 0, 0);
      pen.restore();
    };
    const draw = () => {
      const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(box.width * ratio);
      canvas.height = Math.round(box.height * ratio);
      const pen = canvas.getContext("2d"), css = getComputedStyle(document.documentElement);
      room = { width: Math.max(1, box.width - MARGIN.left - MARGIN.right), height: box.height - MARGIN.top - MARGIN.bottom };
      const { width, height } = room;
      pen.scale(ratio, ratio);
      pen.font = "12px " + css.getPropertyValue("--sans").trim();
      axes(pen, css, width, height);
      pen.save();
      pen.beginPath(); pen.rect(MARGIN.left, MARGIN.top, width, height); pen.clip();
      // The image that moves is drawn last, on top.
      for (const k of [...images.filter((i) => i !== moving), moving]) {
        pen.strokeStyle = pen.fillStyle = colour(css, k);
        pen.globalAlpha = k === moving || k === ref() ? 1 : 0.55;
        const { t, e } = curve(k), perMagnitude = 1 / perPixel().m;
        const places = t.map((_, i) => place(shifted(k, i)));
        pen.beginPath();
        places.forEach(([x, y], i) => { pen.moveTo(x, y - e[i] * perMagnitude); pen.lineTo(x, y + e[i] * perMagnitude); });
        pen.stroke();
        pen.beginPath();
        places.forEach(([x, y]) => { pen.moveTo(x + 3.6, y); SHAPES[k % SHAPES.length](pen, x, y); });
        pen.fill();
      }
      pen.restore();
    };

    // ---- the table
    const cell = (row, text, kind = "td") => {
      const made = document.createElement(kind);
      made.className = "number";
      made.textContent = text;
      row.append(made);
      return made;
    };
    const field = (row, k, label, step, read, write) => {
      const input = document.createElement("input");
      Object.assign(input, { type: "number", step, disabled: k === ref() });
      input.setAttribute("aria-label", label + " of " + data.sources[k]);
      input.addEventListener("change", () => { write(Number(input.value) || 0); settle(k); aim(); update(); });
      cell(row, "").append(input);
      return () => { if (document.activeElement !== input || input.disabled) input.value = read(); };
    };
    let refresh = [];
    const build = () => {
      body.replaceChildren();
      refresh = images.map((k) => {
        const row = document.createElement("tr");
        const head = cell(row, "", "th");
        head.scope = "row";
        head.className = "";
        const swatch = document.createElement("span");
        swatch.className = "swatch";
        swatch.style.background = "var(--c" + (k % 8) + ")";
        head.append(swatch, data.sources[k] + (k === ref() ? ", reference" : ""));
        const radio = document.createElement("input");
        Object.assign(radio, { type: "radio", name: "move-" + data.roi, checked: k === moving, disabled: k === ref() });
        radio.setAttribute("aria-label", "Move " + data.sources[k]);
        radio.addEventListener("change", () => { moving = k; update(); });
        cell(row, "").append(radio);
        const g = () => Number(group.value);
        const fields = [
          field(row, k, "Delay in days", "any", () => delays[k].toFixed(3), (v) => { delays[k] = v; }),
          field(row, k, "Shift in magnitudes", "any", () => shifts[g()][k].toFixed(4), (v) => {
            shifts[g()][k] = v;
            matching.checked = false;
          })];
        const cells = [0, 1, 2, 3].map(() => cell(row, ""));
        body.append(row);
        return () => {
          radio.checked = k === moving;
          fields.forEach((f) => f());
          if (k === ref()) { cells.forEach((c) => { c.textContent = "–"; }); return; }
          const every = data.groups.map((_, i) => measure(k, i));
          const found = every[g()], total = sum(every.map((m) => m.count));
          const all = sum(every.map((m) => (m.count ? m.chi2 * m.count : 0))) / total;
          const shown = (v, digits) => (Number.isFinite(v) ? v.toFixed(digits) : "–");
          [String(found.count) + " of " + curve(k).t.length, shown(found.rms, 4), shown(found.chi2, 2), shown(all, 2)]
            .forEach((text, i) => { cells[i].textContent = text; });
        };
      });
    };
    const write = () => {
      const rows = [["image", "reference", "delay_days", "instrument_band", "shift_mag", "overlap", "residual_mag", "chi2_per_point"]];
      for (const k of images.filter((i) => i !== ref())) {
        data.groups.forEach((own, g) => {
          const found = measure(k, g);
          rows.push([data.sources[k], data.sources[ref()], delays[k].toFixed(3), own.name, shifts[g][k].toFixed(4),
            String(found.count), found.rms.toFixed(4), found.chi2.toFixed(2)]);
        });
      }
      const how = "# " + data.roi + ": " + points.selectedOptions[0].textContent + ", smoothing " + h() + " days";
      numbers.value = [how, ...rows.map((row) => row.join("\t"))].join("\n") + "\n";
    };
    const tell = (k) => {
      const found = measure(k, Number(group.value));
      said.textContent = data.sources[k] + " against " + data.sources[ref()] + ": delay " + delays[k].toFixed(3) +
        " days, shift " + shifts[Number(group.value)][k].toFixed(4) + " mag, " + found.count + " overlapping points, residual " +
        (Number.isFinite(found.rms) ? found.rms.toFixed(4) + " mag" : "none");
    };
    let waiting = false;
    const update = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        refresh.forEach((f) => f());
        write();
        tell(moving);
        draw();
      });
    };
    const settle = (k) => { if (matching.checked) match([k]); };
    const move = (k, days, magnitudes) => {
      delays[k] += days;
      // By hand, or matched: a shift by hand ends the matching.
      if (magnitudes) { matching.checked = false; shifts[Number(group.value)][k] += magnitudes; }
      settle(k);
      update();
    };

    // ---- by mouse and by keys
    let grabbed = null;
    canvas.addEventListener("pointerdown", (event) => {
      const box = canvas.getBoundingClientRect();
      const at = [event.clientX - box.left, event.clientY - box.top];
      let best = 24, near = moving;
      for (const k of images.filter((i) => i !== ref())) {
        curve(k).t.forEach((_, i) => {
          const [x, y] = place(shifted(k, i));
          const distance = Math.hypot(x - at[0], y - at[1]);
          if (distance < best) { best = distance; near = k; }
        });
      }
      moving = near;
      grabbed = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("dragging");
      update();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!grabbed) return;
      const step = perPixel();
      // To the right is a smaller delay: what is drawn is the time less the delay.
      const days = -(event.clientX - grabbed[0]) * step.t;
      const magnitudes = matching.checked || event.shiftKey ? 0 : -(event.clientY - grabbed[1]) * step.m;
      grabbed = [event.clientX, event.clientY];
      move(moving, days, magnitudes);
    });
    const release = () => {
      if (!grabbed) return;
      grabbed = null;
      canvas.classList.remove("dragging");
      aim();
      update();
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("keydown", (event) => {
      const far = event.shiftKey ? 10 : 1, step = h() / 20;
      const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, 0.005], ArrowDown: [0, -0.005] };
      if (moves[event.key]) {
        move(moving, far * moves[event.key][0], far * moves[event.key][1]);
        aim();
      } else if (event.key === "n" || event.key === "N") {
        const others = images.filter((k) => k !== ref());
        moving = others[(others.indexOf(moving) + 1) % others.length];
        update();
      } else return;
      event.preventDefault();
    });

    const again = () => { build(); aim(); update(); };
    find(".match").addEventListener("click", () => { match(images); aim(); update(); });
    find(".reset").addEventListener("click", () => {
      smoothings = { ...data.smoothing };
      smoothing.value = String(smoothings[points.value]);
      matching.checked = true;
      reset();
      again();
    });
    find(".copy").addEventListener("click", async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(numbers.value);
      } catch {
        numbers.select();
        done = document.execCommand("copy");
      }
      said.textContent = done ? "The numbers are on the clipboard." : "Select the numbers below and copy them.";
    });
    reference.addEventListener("change", () => { reset(); again(); });
    group.addEventListener("change", again);
    points.addEventListener("change", () => { smoothing.value = String(smoothings[points.value]); again(); });
    smoothing.addEventListener("change", () => { smoothings[points.value] = h(); images.forEach(settle); update(); });
    matching.addEventListener("change", () => { images.forEach(settle); aim(); update(); });
    new ResizeObserver(update).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
    smoothing.value = String(smoothings[points.value]);
    reset();
    again();
  };
  document.querySelectorAll(".delays").forEach(start);
})();

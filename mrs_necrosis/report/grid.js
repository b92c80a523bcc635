"use strict";
(async function () {
  const began = performance.now();
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const [X, Y, Z] = data.shape;
  const LABEL_COLOURS = { 1: "#0072b2", 2: "#d55e00", 3: "#e8d9a0" }; // 4, not evaluable, has none;
  const CODE_COLOURS = ["#2c7fb8", "#e8b23a", "#d55e00", "#8e5ea2", "#5aa469", "#c9ced6", "#444b57", "#b7d3e9"];

  if (typeof DecompressionStream === "undefined") {
    $("problem").textContent = "This browser is too old to unpack the page (it lacks DecompressionStream). " +
      "Chrome or Edge 80, Firefox 113 and Safari 16.4, or newer, can.";
    $("problem").hidden = false;
    document.body.dataset.ready = "no";
    return;
  }

  // ---------------------------------------------------------------- unpacking
  async function unpack(text, itemSize) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const shuffled = new Uint8Array(await new Response(stream).arrayBuffer());
    if (itemSize === 1) return shuffled.buffer;
    const n = shuffled.length / itemSize, out = new Uint8Array(shuffled.length);
    for (let b = 0; b < itemSize; b++) {
      for (let i = 0, at = b * n; i < n; i++) out[i * itemSize + b] = shuffled[at + i];
    }
    return out.buffer;
  }

  const tables = {};
  for (const name of Object.keys(data.colours)) {
    tables[name] = Uint8Array.from(atob(data.colours[name]), (c) => c.charCodeAt(0));
  }
  const maps = data.maps;
  await Promise.all(maps.map(async (m) => {
    const buffer = await unpack(m.data, 4);
    m.values = m.kind === "quantity" ? new Float32Array(buffer) : new Uint32Array(buffer);
    delete m.data;
  }));
  const statements = await Promise.all(data.statements.map(async (s) => (
    { kind: s.kind, text: s.text, bits: new Uint8Array(await unpack(s.where, 1)) })));
  const lesion = data.lesion ? new Float32Array(await unpack(data.lesion, 4)) : null;
  const byName = Object.fromEntries(maps.map((m) => [m.name, m]));
  const at = (i, j, k) => (i * Y + j) * Z + k;

  // ---------------------------------------------------------------- state
  const state = { map: maps[0], i: X >> 1, j: Y >> 1, k: Z >> 1, neurological: false,
    low: 0, high: 1, snr: 0, width: Infinity, converged: false, shown: new Uint8Array(X * Y * Z) };

  function readHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    const voxel = (given.get("voxel") || "").split(",").map(Number);
    if (voxel.length === 3 && voxel.every((n, a) => Number.isInteger(n) && n >= 0 && n < data.shape[a])) {
      [state.i, state.j, state.k] = voxel;
    } else {
      startingVoxel();
    }
    if (byName[given.get("map")]) state.map = byName[given.get("map")];
    if (given.has("view")) state.neurological = given.get("view") === "neurological";
  }

  function startingVoxel() {
    // most of the lesion, or else the most tumour-like voxel, or else the best spectrum
    const likelihood = byName["desc-likelihoodratio"], snr = byName["desc-snr"];
    const weight = lesion || (likelihood && likelihood.values) || (snr && snr.values);
    let best = -Infinity;
    if (!weight) return;
    for (let v = 0; v < weight.length; v++) {
      const judged = lesion && likelihood && Number.isFinite(likelihood.values[v]) ? likelihood.values[v] * 1e-6 : 0;
      if (weight[v] + judged > best) {
        best = weight[v] + judged;
        state.i = Math.floor(v / (Y * Z)); state.j = Math.floor(v / Z) % Y; state.k = v % Z;
      }
    }
  }

  function writeHash() {
    const text = "#voxel=" + [state.i, state.j, state.k].join(",") + "&map=" + state.map.name +
      (state.neurological ? "&view=neurological" : "");
    try { history.replaceState(null, "", text); } catch (error) { /* some viewers forbid it */ }
  }

  // ---------------------------------------------------------------- numbers as text
  function digits(value, n = 3) {
    if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(n - 1)
      : value.toPrecision(n).includes("e") ? String(Math.round(value)) : value.toPrecision(n);
    return text.replace("-", "−");
  }
  const word = (m, v) => (m.key[m.values[v]] || String(m.values[v])).split(": ");

  // ---------------------------------------------------------------- colours
  const isLog = (m) => m.desc === "likelihoodratio";
  const isSided = (m) => isLog(m) || m.desc === "index";
  const tableOf = (m) => tables[isSided(m) ? "sides" : "sequential"];
  const forScale = (m, value) => (isLog(m) ? Math.log10(value) : value);

  function usableAt(v) {
    const snr = byName["desc-snr"], width = byName["desc-linewidthppm"], fit = byName["desc-status"];
    if (state.snr > 0 && snr && !(snr.values[v] >= state.snr)) return false;
    if (Number.isFinite(state.width) && width && !(width.values[v] <= state.width)) return false;
    return !(state.converged && fit && fit.values[v] !== 0);
  }

  function autoScale() {
    const m = state.map, seen = [];
    if (m.kind !== "quantity") return;
    // an absent peak's estimate scatters about zero and must not set the scale, nor must the scalp
    const status = m.met ? byName[m.name.replace(/desc-.*/, "desc-status")] : null;
    for (let v = 0; v < m.values.length; v++) {
      const value = forScale(m, m.values[v]);
      if (status && status.values[v] !== 0) continue;
      if (lipidOfScalp(m, v)) continue;
      if (Number.isFinite(value) && usableAt(v)) seen.push(value);
    }
    seen.sort((a, b) => a - b);
    const pick = (q) => (seen.length ? seen[Math.min(seen.length - 1, Math.round(q * (seen.length - 1)))] : 0);
    if (m.desc.startsWith("probability") || m.desc.startsWith("labelprobability")) [state.low, state.high] = [0, 1];
    else if (isLog(m)) [state.low, state.high] = [-1.3, 1.3];
    else if (m.desc === "index") [state.low, state.high] = [-5, 5];
    else {
      state.low = pick(0.02); state.high = pick(0.98);
      if (["area", "areasd", "snr", "sd"].includes(m.desc) && state.low > 0) state.low = 0;
      if (!(state.high > state.low)) { state.low -= 0.5; state.high += 0.5; }
      const step = Math.pow(10, Math.floor(Math.log10(state.high - state.low)) - 1);
      state.low = Math.floor(state.low / step) * step; state.high = Math.ceil(state.high / step) * step;
    }
  }

  function lipidOfScalp(m, v) {
    const scalp = /LL|Lip|Lac/.test(m.met || "") ? byName["desc-scalplipid"] : null;
    return scalp ? scalp.values[v] !== 0 : false;
  }

  // what a ratio is known to exceed where its denominator is absent: often the most tumour-like voxels
  function exceeded(m, v) {
    if (lipidOfScalp(m, v)) return NaN;
    if (m.desc !== "ratio" || !Number.isNaN(m.values[v])) return NaN;
    const status = byName[m.name.replace("desc-ratio", "desc-status")], bound = byName[m.name.replace("desc-ratio", "desc-bound")];
    return status && bound && status.values[v] === 2 ? bound.values[v] : NaN;
  }

  function colourOf(m, v) {
    if (m.kind === "quantity") {
      const known = m.values[v], value = forScale(m, Number.isNaN(known) ? exceeded(m, v) : known);
      if (Number.isNaN(value)) return null;
      const share = Math.min(1, Math.max(0, (value - state.low) / (state.high - state.low)));
      const row = 3 * Math.round(share * 255), t = tableOf(m);
      return "rgb(" + t[row] + "," + t[row + 1] + "," + t[row + 2] + ")";
    }
    if (m.desc === "label") return LABEL_COLOURS[m.values[v]] || null;
    if (m.kind === "bits") return m.values[v] === 0 ? null : CODE_COLOURS[Math.log2(m.values[v] & -m.values[v]) % 8];
    return CODE_COLOURS[m.values[v] % 8];
  }

  // ---------------------------------------------------------------- the map
  const canvas = $("grid"), margin = data.anatomy ? data.anatomy.margin : 0;
  const n = [X, Y], columns = n[data.across] + 2 * margin, rows = n[data.down] + 2 * margin;
  const backgrounds = new Map();

  function flips() {
    // radiological: the low end of the screen's horizontal is the subject's right (or front)
    const [low, high] = data.acrossEnds;
    let across = low === "L" || low === "P";
    if (state.neurological) across = !across;
    if (!high) across = state.neurological;
    return { across, down: data.downEnds[0] !== "A" && data.downEnds[0] !== "S" };
  }

  const layout = () => {
    const ratio = (rows * data.sizes[1]) / (columns * data.sizes[0]);
    const width = canvas.clientWidth, pad = data.view ? 22 : 4;
    const room = Math.min(width - 2 * pad, (640 - 2 * pad) / ratio);
    const w = room / columns, h = (room * ratio) / rows;
    return { w, h, left: (width - w * columns) / 2, top: pad, height: h * rows + 2 * pad, width };
  };

  function cell(i, j) {
    const f = flips(), a = data.across === 0 ? i : j, d = data.across === 0 ? j : i;
    const c = f.across ? n[data.across] - 1 - a : a, r = f.down ? n[data.down] - 1 - d : d;
    return [c + margin, r + margin];
  }

  function voxelAt(x, y) {
    const l = layout(), f = flips();
    let c = Math.floor((x - l.left) / l.w) - margin, r = Math.floor((y - l.top) / l.h) - margin;
    if (c < 0 || r < 0 || c >= n[data.across] || r >= n[data.down]) return null;
    if (f.across) c = n[data.across] - 1 - c;
    if (f.down) r = n[data.down] - 1 - r;
    return data.across === 0 ? [c, r] : [r, c];
  }

  async function background(k) {
    if (!data.anatomy) return null;
    if (!backgrounds.has(k)) {
      const p = data.anatomy.perVoxel, A = (X + 2 * margin) * p, B = (Y + 2 * margin) * p;
      const grey = new Uint8Array(await unpack(data.anatomy.slices[k], 1));
      const wide = data.across === 0 ? A : B, tall = data.across === 0 ? B : A;
      const image = new ImageData(wide, tall);
      for (let r = 0; r < tall; r++) {
        for (let c = 0; c < wide; c++) {
          const value = grey[data.across === 0 ? c * B + r : r * B + c], o = 4 * (r * wide + c);
          image.data[o] = image.data[o + 1] = image.data[o + 2] = value; image.data[o + 3] = 255;
        }
      }
      const sheet = document.createElement("canvas");
      sheet.width = wide; sheet.height = tall;
      sheet.getContext("2d").putImageData(image, 0, 0);
      backgrounds.set(k, sheet);
    }
    return backgrounds.get(k);
  }

  function prepare(target, width, height) {
    const dense = window.devicePixelRatio || 1;
    target.width = Math.round(width * dense); target.height = Math.round(height * dense);
    const pen = target.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    return pen;
  }

  let drawing = 0;
  async function drawMap() {
    const turn = ++drawing, sheet = await background(state.k);
    if (turn !== drawing) return;
    const l = layout(), f = flips(), m = state.map;
    canvas.style.height = l.height + "px";
    const pen = prepare(canvas, l.width, l.height);
    pen.fillStyle = "#0c1016"; pen.fillRect(0, 0, l.width, l.height);
    if (sheet) {
      pen.save();
      pen.translate(l.left + (f.across ? columns * l.w : 0), l.top + (f.down ? rows * l.h : 0));
      pen.scale(f.across ? -1 : 1, f.down ? -1 : 1);
      pen.imageSmoothingEnabled = true;
      pen.drawImage(sheet, 0, 0, columns * l.w, rows * l.h);
      pen.restore();
    }
    const place = (i, j) => { const [c, r] = cell(i, j); return [l.left + c * l.w, l.top + r * l.h]; };
    const opacity = sheet ? Number($("opacity").value) / 100 : 1;
    let visible = 0, coloured = 0, above = 0;
    for (let i = 0; i < X; i++) {
      for (let j = 0; j < Y; j++) {
        const v = at(i, j, state.k), [x, y] = place(i, j), good = usableAt(v), colour = good ? colourOf(m, v) : null;
        if (good) visible++;
        if (colour) {
          coloured++;
          pen.globalAlpha = opacity; pen.fillStyle = colour;
          const x0 = Math.round(x), y0 = Math.round(y);
          pen.fillRect(x0, y0, Math.round(x + l.w) - x0, Math.round(y + l.h) - y0);
          pen.globalAlpha = 1;
          if (Number.isFinite(exceeded(m, v))) {
            above++;
            const cx = x + l.w / 2, cy = y + l.h / 2, r = Math.max(2.5, 0.26 * Math.min(l.w, l.h));
            pen.beginPath(); pen.moveTo(cx, cy - r); pen.lineTo(cx + r, cy + r); pen.lineTo(cx - r, cy + r); pen.closePath();
            pen.fillStyle = "#ffffff"; pen.fill(); pen.strokeStyle = "#0c1016"; pen.lineWidth = 1.2; pen.stroke();
          }
        } else if (!sheet) {
          pen.fillStyle = "#171d26"; pen.fillRect(x + 0.5, y + 0.5, l.w - 1, l.h - 1);
        }
      }
    }
    if ($("lines").checked) {
      pen.strokeStyle = sheet ? "rgba(255,255,255,.20)" : "rgba(12,16,22,.55)"; pen.lineWidth = 1; pen.beginPath();
      const x0 = l.left + margin * l.w, y0 = l.top + margin * l.h;
      const x1 = x0 + n[data.across] * l.w, y1 = y0 + n[data.down] * l.h;
      for (let c = 0; c <= n[data.across]; c++) { const x = Math.round(x0 + c * l.w) + 0.5; pen.moveTo(x, y0); pen.lineTo(x, y1); }
      for (let r = 0; r <= n[data.down]; r++) { const y = Math.round(y0 + r * l.h) + 0.5; pen.moveTo(x0, y); pen.lineTo(x1, y); }
      pen.stroke();
    }
    if (lesion) outline(pen, l, place);
    const [x, y] = place(state.i, state.j);
    pen.strokeStyle = "#0c1016"; pen.lineWidth = 5; pen.strokeRect(x, y, l.w, l.h);
    pen.strokeStyle = "#ffffff"; pen.lineWidth = 2.5; pen.strokeRect(x, y, l.w, l.h);
    letters(pen, l, f);
    if (m.kind === "quantity") {
      $("legend").replaceChildren(...(above ? [element("li", "▲ " + m.title.split("/")[1] + " is not detected: the ratio is above what the colour says")] : []));
    }
    $("count").textContent = visible + " of " + X * Y + " voxels of this slice pass, " + coloured + " have an answer";
  }

  function outline(pen, l, place) {
    const inside = (i, j) => i >= 0 && j >= 0 && i < X && j < Y && lesion[at(i, j, state.k)] >= 0.5;
    pen.beginPath();
    for (let i = 0; i < X; i++) {
      for (let j = 0; j < Y; j++) {
        if (!inside(i, j)) continue;
        for (const [di, dj] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          if (inside(i + di, j + dj)) continue;
          const [ax, ay] = place(i, j);
          // the edge between the two cells, whichever way the view is flipped
          const [p, q] = cell(i, j), f = flips();
          const step = (axis, s) => (axis === data.across ? [f.across ? -s : s, 0] : [0, f.down ? -s : s]);
          const [sx, sy] = di ? step(0, di) : step(1, dj);
          if (sx) { const ex = ax + (sx > 0 ? l.w : 0); pen.moveTo(ex, ay); pen.lineTo(ex, ay + l.h); }
          else { const ey = ay + (sy > 0 ? l.h : 0); pen.moveTo(ax, ey); pen.lineTo(ax + l.w, ey); }
        }
      }
    }
    pen.lineCap = "round";
    pen.strokeStyle = "rgba(0,0,0,.75)"; pen.lineWidth = 4.5; pen.stroke();
    pen.strokeStyle = "#ffe14d"; pen.lineWidth = 2.2; pen.stroke();
  }

  function letters(pen, l, f) {
    pen.fillStyle = "#f2f4f7"; pen.font = "600 13px system-ui, sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle";
    const side = (ends, flipped) => (flipped ? [ends[1], ends[0]] : ends);
    const [left, right] = side(data.acrossEnds, f.across), [top, bottom] = side(data.downEnds, f.down);
    pen.fillText(left, Math.max(11, l.left - 11), l.height / 2);
    pen.fillText(right, Math.min(l.width - 11, l.left + columns * l.w + 11), l.height / 2);
    pen.fillText(top, l.width / 2, 11);
    pen.fillText(bottom, l.width / 2, l.height - 10);
    if (!data.view) return;
    const perMm = l.w / data.sizes[0], mm = [50, 20, 10, 5].find((one) => one * perMm < 0.3 * columns * l.w) || 5;
    const end = l.left + columns * l.w, y = l.height - 6.5;
    pen.strokeStyle = "#f2f4f7"; pen.lineWidth = 2; pen.beginPath();
    pen.moveTo(end - mm * perMm, y - 3); pen.lineTo(end - mm * perMm, y); pen.lineTo(end, y); pen.lineTo(end, y - 3); pen.stroke();
    pen.textAlign = "right"; pen.font = "12px system-ui, sans-serif";
    pen.fillText(mm + " mm", end - mm * perMm - 5, l.height - 10);
  }

  function drawScale() {
    const m = state.map, continuous = m.kind === "quantity";
    $("scale").hidden = !continuous;
    const legend = $("legend");
    legend.replaceChildren();
    if (continuous) {
      const bar = $("colourbar"), width = bar.clientWidth, pen = prepare(bar, width, 14), t = tableOf(m);
      for (let x = 0; x < width; x++) {
        const row = 3 * Math.round((x / Math.max(1, width - 1)) * 255);
        pen.fillStyle = "rgb(" + t[row] + "," + t[row + 1] + "," + t[row + 2] + ")"; pen.fillRect(x, 0, 1.5, 14);
      }
      const shown = (value) => Number((isLog(m) ? Math.pow(10, value) : value).toPrecision(3));
      $("low").value = shown(state.low); $("high").value = shown(state.high);
      $("scale-title").textContent = m.title + (m.unit && !m.title.includes(m.unit) ? " (" + m.unit + ")" : "") + (isLog(m) ? ", logarithmic" : "");
    } else {
      for (const [code, text] of Object.entries(m.key)) {
        const item = document.createElement("li"), patch = document.createElement("i"), c = Number(code);
        const colour = m.desc === "label" ? LABEL_COLOURS[c] : CODE_COLOURS[(m.kind === "bits" ? Math.log2(c) : c) % 8];
        // beside an anatomy such a voxel shows that, and not the dark of an empty map
        const hidden = !colour && data.anatomy;
        patch.style.background = colour || (hidden ? "none" : "#171d26");
        item.append(patch, text.split(": ")[0] + (hidden ? " (not drawn)" : ""));
        item.title = text;
        legend.append(item);
      }
    }
    $("about").textContent = m.about.charAt(0).toUpperCase() + m.about.slice(1) + ".";
  }

  // ---------------------------------------------------------------- the spectrum
  const slices = new Map();
  async function spectraOf(k) {
    const packed = data.spectra && data.spectra[k];
    if (!packed) return null;
    if (!slices.has(k)) {
      const [rowOf, scale, traces] = await Promise.all([
        unpack(packed.rows, 4), unpack(packed.scale, 4), unpack(packed.traces, 2)]);
      const values = new Int16Array(traces);
      for (let s = 0; s < values.length; s += packed.points) {
        for (let p = s + 1; p < s + packed.points; p++) values[p] += values[p - 1];
      }
      const one = { rowOf: new Int32Array(rowOf), scale: new Float32Array(scale), values, points: packed.points };
      one.top = 0;
      for (let row = 0; row < one.scale.length / 4; row++) {
        let high = 0;
        for (let p = 0; p < one.points; p++) high = Math.max(high, values[row * 3 * one.points + p]);
        const full = one.scale[4 * row] + high * one.scale[4 * row + 1];
        if (full > one.top) one.top = full;
      }
      slices.set(k, one);
    }
    return slices.get(k);
  }

  let lastAxis = null, spectrumTurn = 0;
  async function drawSpectrum() {
    const turn = ++spectrumTurn, s = await spectraOf(state.k);
    if (turn !== spectrumTurn) return;
    const target = $("spectrum"), width = target.clientWidth, height = target.clientHeight;
    const pen = prepare(target, width, height), empty = $("no-spectrum");
    const row = s ? s.rowOf[state.i * Y + state.j] : -1;
    lastAxis = null;
    empty.hidden = row >= 0;
    if (row < 0) {
      const status = byName["desc-status"];
      const why = status ? word(status, at(state.i, state.j, state.k))[1] : "";
      empty.textContent = data.spectra ? "No spectrum here: " + (why || "there is no fit") + "." : "This page was made without spectra.";
      return;
    }
    const [offset, step, ppm0, ppmStep] = s.scale.subarray(4 * row, 4 * row + 4);
    const value = (trace, p) => offset + step * s.values[(row * 3 + trace) * s.points + p];
    const ppm = (p) => ppm0 + ppmStep * p, ppmHigh = ppm(s.points - 1), ppmLow = ppm0;
    let low = Infinity, high = -Infinity, restLow = Infinity, restHigh = -Infinity;
    for (let p = 0; p < s.points; p++) {
      for (let t = 0; t < 3; t++) { const y = value(t, p); low = Math.min(low, y); high = Math.max(high, y); }
      const rest = value(0, p) - value(1, p);
      restLow = Math.min(restLow, rest); restHigh = Math.max(restHigh, rest);
    }
    if ($("same").checked) high = Math.max(high, s.top);
    const span = high - low || 1, box = { left: 14, right: width - 14, top: 12, bottom: height - 34 };
    const restBand = Math.min(0.3, Math.max(0.09, (restHigh - restLow) / span + 0.03)) * (box.bottom - box.top);
    const main = { top: box.top + restBand + 16, bottom: box.bottom - 4 };
    const x = (q) => box.left + ((ppmHigh - q) / (ppmHigh - ppmLow)) * (box.right - box.left);
    const y = (q) => main.bottom - ((q - low) / span) * (main.bottom - main.top);
    const perUnit = (main.bottom - main.top) / span;
    lastAxis = { box, ppmHigh, ppmLow };

    pen.font = "12px system-ui, sans-serif"; pen.textAlign = "center"; pen.textBaseline = "top";
    pen.lineWidth = 1;
    for (const [name, centre] of Object.entries(data.peaks)) {
      if (centre < ppmLow || centre > ppmHigh) continue;
      pen.strokeStyle = "#e6e9ee"; pen.beginPath(); pen.moveTo(x(centre), main.top - 2); pen.lineTo(x(centre), box.bottom); pen.stroke();
      const crowded = { mI: -8, Cho: -8, Cr: 8 }[name] || 0;
      pen.fillStyle = "#5b6776"; pen.fillText(name, x(centre) + crowded, main.top - 15);
    }
    pen.strokeStyle = "#8a94a3"; pen.beginPath(); pen.moveTo(box.left, box.bottom + 0.5); pen.lineTo(box.right, box.bottom + 0.5); pen.stroke();
    pen.fillStyle = "#3d4756";
    const interval = (ppmHigh - ppmLow) > 2.2 ? 0.5 : 0.25;
    for (let q = Math.ceil(ppmLow / interval) * interval; q <= ppmHigh + 1e-6; q += interval) {
      pen.beginPath(); pen.moveTo(x(q), box.bottom); pen.lineTo(x(q), box.bottom + 5); pen.stroke();
      pen.fillText(q.toFixed(interval < 0.5 ? 2 : 1), x(q), box.bottom + 7);
    }
    pen.textAlign = "right"; pen.fillText("ppm", box.right, box.bottom + 20);

    const curve = (pick, colour, thick, dash) => {
      pen.strokeStyle = colour; pen.lineWidth = thick; pen.setLineDash(dash || []); pen.lineJoin = "round"; pen.beginPath();
      for (let p = 0; p < s.points; p++) pen.lineTo(x(ppm(p)), pick(p));
      pen.stroke(); pen.setLineDash([]);
    };
    const zero = box.top + restBand * (restHigh > 0 ? restHigh / Math.max(restHigh - restLow, 1e-30) : 0);
    const restGain = Math.min(perUnit, restBand / Math.max(restHigh - restLow, 1e-30));
    pen.strokeStyle = "#e6e9ee"; pen.lineWidth = 1; pen.beginPath(); pen.moveTo(box.left, zero); pen.lineTo(box.right, zero); pen.stroke();
    curve((p) => zero - (value(0, p) - value(1, p)) * restGain, "#9aa3b0", 1);
    curve((p) => y(value(0, p)), "#3d4756", 1.1);
    curve((p) => y(value(2, p)), "#0072b2", 1.5, [6, 4]);
    curve((p) => y(value(1, p)), "#d55e00", 2);
  }

  // ---------------------------------------------------------------- the voxel
  function element(kind, text, className) {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function fillRatios(v) {
    const body = $("ratios").tBodies[0];
    body.replaceChildren();
    for (const m of maps) {
      if (m.desc !== "ratio") continue;
      const part = (desc) => { const p = byName[m.name.replace("desc-ratio", "desc-" + desc)]; return p ? p.values[v] : NaN; };
      const code = part("status"), line = element("tr"), head = element("th", m.title);
      head.scope = "row";
      let value = "–", interval = "";
      if (code === 0) {
        value = digits(m.values[v]) + (Number.isFinite(part("sd")) ? " ± " + digits(part("sd"), 2) : "");
        if (!Number.isNaN(part("lower"))) interval = digits(part("lower")) + " to " + digits(part("upper"));
      } else if (code === 1) {
        value = "not detected";
        interval = Number.isFinite(part("bound")) ? "below " + digits(part("bound")) : "";
      } else if (code === 2) {
        value = m.title.split("/")[1] + " not detected";
        interval = Number.isFinite(part("bound")) ? "above " + digits(part("bound")) : "";
      } else {
        value = "no answer";
      }
      line.append(head, element("td", value, code === 0 ? "" : "note"), element("td", interval));
      body.append(line);
    }
    $("ratios").hidden = !body.rows.length;
    const lower = maps.find((m) => m.desc === "lower"), share = lower && /([0-9.]+ %) interval/.exec(lower.about);
    if (share) $("ratios").tHead.rows[0].cells[2].textContent = share[0];
  }

  function fillNumbers(v) {
    const body = $("numbers").tBodies[0];
    body.replaceChildren();
    const add = (name, value, note) => {
      const line = element("tr"), head = element("th", name);
      head.scope = "row";
      line.append(head, element("td", value, note ? "note" : ""));
      body.append(line);
    };
    const read = (name) => (byName[name] ? byName[name].values[v] : NaN);
    if (byName["desc-snr"]) add("SNR", read("desc-snr") < 1 ? "below 1" : digits(read("desc-snr")));
    if (byName["desc-linewidth"]) add("Linewidth", digits(read("desc-linewidth")) + " Hz (" + digits(read("desc-linewidthppm"), 2) + " ppm)");
    if (byName["desc-residual"]) add("Residual / noise", digits(read("desc-residual"), 2));
    if (byName["desc-status"]) add("Fit", word(byName["desc-status"], v).slice(-1)[0]);
    if (byName["met-ChoNAA_desc-index"]) add("Cho/NAA index", digits(read("met-ChoNAA_desc-index"), 2) + " ± " + digits(read("met-ChoNAA_desc-indexsd"), 2));
    if (lesion) add("Signal from the lesion", Math.round(100 * lesion[v]) + " %");
    const first = ["Cho", "Cr", "NAA", "LL", "Lac", "mI"], rank = (m) => (first.indexOf(m.title) + 1) || 99;
    for (const m of maps.filter((one) => one.desc === "area").sort((a, b) => rank(a) - rank(b))) {
      const sd = read(m.name.replace("desc-area", "desc-areasd"));
      const absent = Number.isFinite(sd) && Number.isFinite(m.values[v]) && m.values[v] < 3 * sd;
      add(m.title, digits(m.values[v]) + (Number.isFinite(sd) ? " ± " + digits(sd, 2) : "") + (absent ? " (not detected)" : ""), absent);
    }
  }

  function fillReasons(v) {
    const list = $("reasons");
    list.replaceChildren();
    const order = ["gate", "recurrence", "necrosis", "caveat"];
    const says = { gate: "No label: ", recurrence: "For recurrence: ", necrosis: "For necrosis: ", caveat: "Less weight: " };
    const here = statements.filter((s) => (s.bits[v >> 3] >> (v & 7)) & 1);
    here.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
    for (const s of here) {
      const item = element("li", undefined, s.kind);
      item.append(element("span", says[s.kind], "side"), s.text);
      list.append(item);
    }
    if (!here.length) list.append(element("li", statements.length ? "No criterion could be laid beside this voxel." : "This page holds no assessment.", "caveat"));
  }

  function showVoxel() {
    const v = at(state.i, state.j, state.k), label = byName["desc-label"], lr = byName["desc-likelihoodratio"];
    $("voxel-title").textContent = "Voxel " + state.i + ", " + state.j + ", " + state.k;
    const said = label ? word(label, v)[0] : "";
    $("voxel-label").textContent = said;
    $("voxel-label").className = "chip " + said;
    const chances = maps.filter((m) => m.desc.startsWith("labelprobability") && m.values[v] >= 0.005)
      .map((m) => m.title + " = " + m.values[v].toFixed(2));
    $("voxel-evidence").textContent = [lr && Number.isFinite(lr.values[v]) ? "likelihood ratio " + digits(lr.values[v], 2) : "", ...chances].filter(Boolean).join(" · ");
    let where = "index along the grid’s own axes, from 0";
    if (data.affine) {
      const mm = data.affine.slice(0, 3).map((r) => r[0] * state.i + r[1] * state.j + r[2] * state.k + r[3]);
      where = "centre at " + ["LR", "PA", "IS"].map((e, a) => e[mm[a] > 0 ? 1 : 0] + " " + Math.abs(mm[a]).toFixed(1)).join(", ") + " mm";
    } else {
      where += "; the source gives no position";
    }
    $("voxel-where").textContent = where;
    fillRatios(v); fillNumbers(v); fillReasons(v);
    const m = state.map, value = m.kind === "quantity" ? digits(m.values[v]) : word(m, v)[0];
    $("status").textContent = "Voxel " + [state.i, state.j, state.k].join(", ") + ": " + m.title + " " + value + (said ? ", " + said : "");
    $("slice").value = state.k; $("slice-text").textContent = (state.k + 1) + " of " + Z + " (index " + state.k + ")";
  }

  async function refresh() {
    showVoxel(); writeHash();
    await Promise.all([drawMap(), drawSpectrum()]);
  }

  // ---------------------------------------------------------------- controls
  const groups = new Map();
  for (const m of maps) {
    if (!groups.has(m.group)) {
      const group = document.createElement("optgroup");
      group.label = m.group; groups.set(m.group, group);
    }
    const option = element("option", m.title);
    option.value = m.name; groups.get(m.group).append(option);
  }
  const wanted = ["Evidence", "Ratios", "Normal tissue", "Areas", "Quality", "Ratios in detail"];
  for (const name of [...wanted, ...groups.keys()]) if (groups.has(name)) $("map").append(groups.get(name));
  $("slice").max = Z - 1; $("slice-box").hidden = Z === 1; $("opacity-box").hidden = !data.anatomy;
  if (!data.affine) $("convention").parentElement.append(" orientation unknown: the source gives no position");

  function chooseMap(m) {
    state.map = m; $("map").value = m.name;
    autoScale(); drawScale(); return refresh();
  }
  const clamp = (value, top) => Math.max(0, Math.min(top, value));
  function move(c, r) {
    const f = flips(), a = f.across ? -c : c, d = f.down ? -r : r;
    const [di, dj] = data.across === 0 ? [a, d] : [d, a];
    state.i = clamp(state.i + di, X - 1); state.j = clamp(state.j + dj, Y - 1);
    refresh();
  }
  function slice(k) { state.k = clamp(k, Z - 1); refresh(); }

  $("map").addEventListener("change", (e) => chooseMap(byName[e.target.value]));
  $("slice").addEventListener("input", (e) => slice(Number(e.target.value)));
  $("opacity").addEventListener("input", drawMap);
  $("lines").addEventListener("change", drawMap);
  $("same").addEventListener("change", drawSpectrum);
  $("convention").addEventListener("change", (e) => { state.neurological = e.target.value === "neurological"; refresh(); });
  const threshold = () => {
    state.snr = Number($("snr").value) || 0;
    state.width = $("width").value === "" ? Infinity : Number($("width").value);
    state.converged = $("converged").checked;
    autoScale(); drawScale(); drawMap();
  };
  for (const id of ["snr", "width", "converged"]) $(id).addEventListener("input", threshold);
  for (const id of ["low", "high"]) {
    $(id).addEventListener("change", (e) => {
      const value = isLog(state.map) ? Math.log10(Number(e.target.value)) : Number(e.target.value);
      if (e.target.value !== "" && Number.isFinite(value)) state[id] = value;
      drawScale(); drawMap();
    });
  }
  canvas.addEventListener("click", (e) => {
    const box = canvas.getBoundingClientRect(), found = voxelAt(e.clientX - box.left, e.clientY - box.top);
    if (found) { [state.i, state.j] = found; refresh(); }
  });
  canvas.addEventListener("keydown", (e) => {
    const acts = {
      ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
      PageUp: () => slice(state.k + 1), PageDown: () => slice(state.k - 1), "+": () => slice(state.k + 1), "-": () => slice(state.k - 1),
      m: () => { const all = [...$("map").options].map((o) => o.value); chooseMap(byName[all[(all.indexOf(state.map.name) + 1) % all.length]]); },
    };
    if (acts[e.key] && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); acts[e.key](); }
  });
  $("spectrum").addEventListener("mousemove", (e) => {
    if (!lastAxis) return;
    const share = (e.offsetX - lastAxis.box.left) / (lastAxis.box.right - lastAxis.box.left);
    const q = lastAxis.ppmHigh - share * (lastAxis.ppmHigh - lastAxis.ppmLow);
    $("cursor").textContent = share >= 0 && share <= 1 ? q.toFixed(2) + " ppm" : "";
  });
  window.addEventListener("resize", () => { drawScale(); drawMap(); drawSpectrum(); });
  window.addEventListener("hashchange", () => { readHash(); $("convention").value = state.neurological ? "neurological" : "radiological"; chooseMap(state.map); });

  readHash();
  $("convention").value = state.neurological ? "neurological" : "radiological";
  await chooseMap(state.map);
  document.body.dataset.loadMs = Math.round(performance.now() - began);
  document.body.dataset.ready = "yes";
})();

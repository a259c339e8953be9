/* The explorer: controls on one side, what the model answers on the other.

   All numbers of the model come with the page, in the JSON that its cell makes from jrlib. The model
   itself is jansen-rit.js, and plots are drawn with drawing.js. Classic scripts without imports, so
   that they run from file:// too.

   One object, `settings`, holds what the reader chose. Every control writes to it and calls
   `changed`; once per frame `update` simulates and draws everything anew. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("explorer-app");
  if (!root) return; // Jupyter Book puts this script on every page
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const model = window.JansenRit;
  const { format, superscript, plain, spoken, marked, spokenRange } = window.Drawing;
  const { element, html, svg, set, label } = window.Drawing;
  const { MARGIN, extent, panel, axes, line, draw } = window.Drawing;
  const names = data.parameters.map((parameter) => parameter.name);
  const typical = data.parameters.map((parameter) => parameter.typical);
  const COUPLING = names.indexOf("C");
  const CONTACTS = ["a_1", "a_2", "a_3", "a_4"].map((name) => names.indexOf(name));

  // Settings ------------------------------------------------------------------------------------

  /* `theta` is before the null direction: see `effective`. Times in s, as in jrlib. A cursor of null
     follows the largest deflection. */
  const initial = () => ({
    convention: "CLASSIC",
    theta: [...typical],
    scaling: 1,
    noise: 0,
    width: data.protocol.pulse_width,
    height: 1,
    background: data.protocol.background,
    isi: data.protocol.isi,
    cursor: null,
  });
  let settings = initial();
  const OTHERS = ["scaling", "width", "height", "isi", "background", "noise"];

  /* The null direction: C times a factor, a_1..a_4 divided by it. */
  function effective({ theta, scaling }) {
    return theta.map((value, k) => {
      if (k === COUPLING) return value * scaling;
      return CONTACTS.includes(k) ? value / scaling : value;
    });
  }

  function setParameter(k, value) {
    if (k === COUPLING) value /= settings.scaling;
    if (CONTACTS.includes(k)) value *= settings.scaling;
    settings.theta[k] = value;
  }

  function protocol({ width, height, background, isi }) {
    const pulse = data.protocol.pulse.map((rate) => height * rate);
    return { ...data.protocol, pulse, pulse_width: Math.min(width, isi), background, isi };
  }

  const convention = (name) => data.conventions[name];

  // Controls ------------------------------------------------------------------------------------

  /* Of a slider whose control has no step: an arrow key moves it by one. Steps are whole numbers,
     and each position is another value, or a key would not get it away from where it is. */
  const POSITIONS = 400;

  const logarithmic = (low, high) => ({
    low,
    high,
    to: (value) => Math.log(value / low) / Math.log(high / low),
    from: (part) => low * (high / low) ** part,
  });
  const linear = (low, high) => ({
    low,
    high,
    to: (value) => (value - low) / (high - low),
    from: (part) => low + (high - low) * part,
  });
  /* 0 at the left end, then the decades from 0.01 to 10^6. */
  const fromNothing = {
    low: 0,
    high: 1e6,
    to: (value) => (value <= 0.01 ? 0 : (Math.log10(value) + 2) / 8),
    from: (part) => (part <= 0 ? 0 : 10 ** (8 * part - 2)),
  };

  /* What can be set: `get` and `put` in the unit that is shown, which is `times` that of the settings.
     `least` and `most` bound what may be typed in or come with a link. */
  const simple = (key, times = 1) => ({
    times,
    get: () => settings[key] * times,
    put: (value) => (settings[key] = value / times),
  });
  const controls = [
    ...data.parameters.map((parameter, k) => ({
      key: parameter.name,
      symbol: marked(parameter.symbol),
      spoken: spoken(parameter.symbol),
      meaning: parameter.meaning,
      unit: parameter.unit,
      scale: logarithmic(parameter.low, parameter.high),
      mark: parameter.typical,
      least: parameter.low / 4,
      most: parameter.high * 4,
      get: () => effective(settings)[k],
      put: (value) => setParameter(k, value),
    })),
    {
      key: "scaling",
      symbol: "<i>s</i>",
      spoken: "s",
      meaning: "null direction: C times s, a₁ to a₄ divided by s",
      unit: "",
      scale: logarithmic(2 / 3, 2),
      mark: 1,
      ...simple("scaling"),
    },
    {
      key: "width",
      symbol: "",
      spoken: "",
      meaning: "pulse width",
      unit: "ms",
      scale: linear(5, 200),
      mark: 1e3 * data.protocol.pulse_width,
      step: 1,
      ...simple("width", 1e3),
    },
    {
      key: "height",
      symbol: "",
      spoken: "",
      meaning: `pulse height, times ${data.protocol.pulse.join(", ")} /s`,
      unit: "",
      scale: linear(0, 4),
      mark: 1,
      ...simple("height"),
    },
    {
      key: "isi",
      symbol: "",
      spoken: "",
      meaning: "interval between pulses",
      unit: "ms",
      scale: linear(200, 2000),
      mark: 1e3 * data.protocol.isi,
      step: 5,
      ...simple("isi", 1e3),
    },
    {
      key: "background",
      symbol: "<i>p</i>",
      spoken: "p",
      meaning: "constant background input",
      unit: "1/s",
      scale: linear(0, 300),
      mark: data.protocol.background,
      ...simple("background"),
    },
    {
      key: "noise",
      symbol: "",
      spoken: "",
      meaning: "sensor noise, factor of its variance",
      unit: "",
      scale: fromNothing,
      mark: 0,
      ...simple("noise"),
    },
  ];
  const control = Object.fromEntries(controls.map((each) => [each.key, each]));

  function allowed({ scale, least = scale.low, most = scale.high }, value) {
    return Number.isFinite(value) && value >= least && value <= most;
  }

  function tidy({ step }, value) {
    return step ? Math.round(value) : value;
  }

  /* A slider with a mark at the typical value and a field for the exact number. */
  function row(each) {
    const id = `explorer-${each.key}`;
    const { low, high, from, to } = each.scale;
    const positions = each.step ? (high - low) / each.step : POSITIONS;
    const [start, end] = [low, high].map((value) => html("span", {}, format(value)));
    const ends = element("div", { class: "jr-ends", "aria-hidden": "true" }, start, end);
    each.slider = element("input", { type: "range", id, min: 0, max: positions, step: 1 });
    each.field = element("input", { type: "number", step: "any", inputmode: "decimal" });
    each.field.id = `${id}-exact`;
    const name = `${each.spoken} ${each.meaning}`.trim();
    each.field.setAttribute("aria-label", `${name}, exact value${each.unit && ` in ${each.unit}`}`);

    each.slider.addEventListener("input", () => {
      const position = Number(each.slider.value);
      const edges = { 0: low, [positions]: high };
      const value = edges[position] ?? Number(from(position / positions).toPrecision(4));
      each.put(tidy(each, value));
      changed();
    });
    each.field.addEventListener("input", () => {
      const value = tidy(each, each.field.valueAsNumber);
      const valid = allowed(each, value);
      each.field.setAttribute("aria-invalid", String(!valid));
      if (!valid) return;
      each.put(value);
      changed();
    });
    each.field.addEventListener("change", () => showControl(each));

    const text = html("label", { for: id }, `${each.symbol} <span>${each.meaning}</span>`);
    const track = element("div", { class: "jr-track" }, each.slider, ends);
    track.style.setProperty("--mark", to(each.mark));
    const unit = element("span", { class: "jr-unit" }, each.unit);
    return element("div", { class: "jr-row" }, text, track, each.field, unit);
  }

  function showControl(each) {
    const value = each.get();
    const part = Math.min(1, Math.max(0, each.scale.to(value)));
    each.slider.value = Math.round(each.slider.max * part);
    each.slider.style.setProperty("--part", part);
    each.slider.setAttribute("aria-valuetext", `${format(value, 4)} ${each.unit}`.trim());
    each.slider.parentNode.classList.toggle("jr-moved", Math.abs(value - each.mark) > 1e-9 * value);
    if (document.activeElement !== each.field) {
      each.field.value = Number(value.toPrecision(6));
      each.field.setAttribute("aria-invalid", "false");
    }
  }

  /* Presets keep the convention and the noise, unless the preset is about them. */
  const presets = [
    { name: "typical values" },
    ...data.parameters.flatMap(({ symbol, low, high, unit }, k) => [
      { name: `${plain(symbol)} at its low edge, ${low} ${unit}`, k, value: low },
      { name: `${plain(symbol)} at its high edge, ${high} ${unit}`, k, value: high },
    ]),
    { name: "alpha rhythm", convention: "CLASSIC", background: data.alpha },
  ];

  function apply({ k, value, convention = settings.convention, background }) {
    settings = { ...initial(), convention, noise: settings.noise };
    if (k !== undefined) settings.theta[k] = value;
    if (background !== undefined) settings.background = background;
    changed();
  }

  function presetRow() {
    const select = element("select", { id: "explorer-preset" });
    select.append(element("option", { value: "", disabled: "" }, "Choose …"));
    presets.forEach(({ name }, i) => select.append(element("option", { value: i }, name)));
    select.addEventListener("change", () => apply(presets[select.value]));
    const reset = element("button", { type: "button", id: "explorer-reset" }, "Reset all");
    reset.addEventListener("click", () => {
      settings = initial();
      changed();
    });
    const text = element("label", { for: select.id }, "Preset");
    return element("div", { class: "jr-presets" }, text, select, reset);
  }

  const constants = element("p", { class: "jr-note" });

  function showConvention() {
    for (const radio of root.querySelectorAll("[name=explorer-convention]")) {
      radio.checked = radio.value === settings.convention;
    }
    const { v_max, v_0, r } = convention(settings.convention);
    constants.innerHTML = `At most <i>v</i><sub>max</sub> = ${v_max}/s, half of it at <i>v</i><sub>0</sub> =
      ${v_0} mV, slope <i>r</i> = ${r}/mV`;
  }

  function conventionChoice() {
    const choice = element("fieldset", { class: "jr-conventions" });
    choice.append(element("legend", {}, "Convention of the sigmoid"));
    const options = element("div", { class: "jr-options" });
    for (const name of Object.keys(data.conventions)) {
      const radio = element("input", { type: "radio", name: "explorer-convention", value: name });
      radio.addEventListener("change", () => {
        settings.convention = name;
        changed();
      });
      options.append(element("label", {}, radio, element("span", {}, name)));
    }
    choice.append(options, constants);
    return choice;
  }

  /* The address of the page with these settings, and a button that copies it. */
  function linkRow() {
    const button = element("button", { type: "button", id: "explorer-copy" }, "Copy link");
    const told = element("span", { role: "status" });
    button.addEventListener("click", async () => {
      remember();
      try {
        await navigator.clipboard.writeText(location.href);
        told.textContent = "Copied.";
      } catch {
        told.textContent = "The browser forbids copying: take the page's address instead.";
      }
      setTimeout(() => (told.textContent = ""), 4000);
    });
    const text = element("span", {}, "The address of this page holds the settings.");
    return element("div", { class: "jr-link" }, button, text, told);
  }

  const nullResult = element("p", { class: "jr-note", id: "explorer-null-result" });

  function controlPanel() {
    const group = (title, keys, ...more) => {
      const made = element("fieldset", {}, element("legend", {}, title));
      made.append(...keys.map((key) => row(control[key])), ...more);
      return made;
    };
    return element(
      "div",
      { class: "jr-controls" },
      presetRow(),
      conventionChoice(),
      group("Parameters", names),
      group("Null direction", ["scaling"], nullResult),
      group("Stimulus", ["width", "height", "isi", "background"]),
      group("Recording", ["noise"]),
      linkRow(),
    );
  }

  // Settings in the address ---------------------------------------------------------------------

  /* Only what differs from the initial settings, so that the address stays short. */
  function toHash() {
    const fields = new URLSearchParams();
    const start = initial();
    if (settings.convention !== start.convention) fields.set("convention", settings.convention);
    names.forEach((name, k) => {
      if (settings.theta[k] !== typical[k]) fields.set(name, settings.theta[k]);
    });
    for (const key of [...OTHERS, "cursor"]) {
      if (settings[key] !== start[key]) fields.set(key, settings[key]);
    }
    return fields.toString();
  }

  /* The settings that a hash asks for. What is missing or cannot be used keeps its initial value. */
  function fromHash(hash) {
    const fields = new URLSearchParams(hash.replace(/^#/, ""));
    const found = initial();
    const number = (key) => (fields.get(key)?.trim() ? Number(fields.get(key)) : NaN);
    if (Object.hasOwn(data.conventions, fields.get("convention"))) {
      found.convention = fields.get("convention");
    }
    names.forEach((name, k) => {
      if (allowed(control[name], number(name))) found.theta[k] = number(name);
    });
    for (const key of OTHERS) {
      if (allowed(control[key], control[key].times * number(key))) found[key] = number(key);
    }
    const [start, end] = data.protocol.epoch;
    if (number("cursor") >= start && number("cursor") <= end) found.cursor = number("cursor");
    return found;
  }

  /* Whether a hash holds settings; it may also name a heading of the page. */
  function isOurs(hash) {
    const keys = [...new URLSearchParams(hash.replace(/^#/, "")).keys()];
    return keys.some((key) => key in control || key === "convention" || key === "cursor");
  }

  function remember() {
    const hash = toHash();
    if (hash === location.hash.replace(/^#/, "") || (!hash && !isOurs(location.hash))) return;
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  // Plots ---------------------------------------------------------------------------------------

  const erpPanel = panel("erp", "Evoked response", 250);
  const statePanel = panel("states", "Potentials behind it", 230);
  const phasePanel = panel("phase", "Phase plane", 250);
  const sensitivityPanel = panel("sensitivities", "Sensitivities", 250);
  const scalpPanel = panel("scalp", "Scalp", 250);
  const summary = element("p", { class: "jr-summary", id: "explorer-summary", role: "status" });
  const readout = element("span", { class: "jr-readout" });
  erpPanel.heading.append(
    html(
      "span",
      { class: "jr-legend" },
      `<span class="jr-now">▬<b> now</b></span><span class="jr-usual">▬<b> typical values</b></span>
       <span class="jr-noise">■<b> ± 2 sd of noise</b></span>`,
    ),
    readout,
  );
  statePanel.heading.append(
    html(
      "span",
      { class: "jr-legend" },
      `<span class="jr-y0">${marked("y_0")}</span> <span class="jr-y1">${marked("y_1")}</span>
       <span class="jr-y2">${marked("y_2")}</span>`.replaceAll("<sub></sub>", ""),
    ),
  );
  sensitivityPanel.heading.append(
    html("span", { class: "jr-legend" }, "<span>● now</span> <span>○ typical values</span>"),
  );

  const milliseconds = Array.from(model.times(data.protocol), (t) => 1e3 * t);
  const span = [milliseconds[0], milliseconds.at(-1)];
  const component = (states, k) => Float64Array.from(milliseconds, (_, i) => states[6 * i + k]);
  const potential = (states) =>
    Float64Array.from(milliseconds, (_, i) => states[6 * i + 1] - states[6 * i + 2]);
  const slope = (states) =>
    Float64Array.from(milliseconds, (_, i) => states[6 * i + 4] - states[6 * i + 5]);

  /* Where pulses lie in the epoch: more than one when they follow each other quickly. */
  function pulses() {
    const [width, isi] = [1e3 * settings.width, 1e3 * settings.isi];
    const first = Math.ceil((span[0] - width) / isi);
    const last = Math.floor((span[1] - 1) / isi);
    return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * isi).map((start) => [
      Math.max(start, span[0]),
      Math.min(start + width, span[1]),
    ]);
  }

  function drawPulses(target, { x, bottom }) {
    for (const [start, end] of pulses()) {
      target.image.append(
        svg("rect", {
          class: "jr-pulse",
          x: x(start),
          y: MARGIN.top,
          width: Math.max(0, x(end) - x(start)),
          height: bottom - MARGIN.top,
        }),
      );
    }
  }

  function drawErp() {
    const { erp, noise, reference } = now;
    const above = erp.map((value, i) => value + 2 * noise[i]);
    const below = erp.map((value, i) => value - 2 * noise[i]);
    const plot = axes(
      erpPanel,
      span,
      extent(above, below, reference.erp),
      "time after the pulse (ms)",
      "mV",
    );
    const { x, y, bottom } = plot;
    drawPulses(erpPanel, plot);
    const text = { class: "jr-small" };
    if (x(1e3 * settings.width) - x(0) > 10) {
      erpPanel.image.append(label(x(0), MARGIN.top - 4, "pulse", text));
    }
    const [from, to] = data.protocol.baseline.map((t) => x(1e3 * t));
    erpPanel.image.append(
      svg("line", { class: "jr-baseline", x1: from, x2: to, y1: bottom - 2, y2: bottom - 2 }),
      label((from + to) / 2, bottom - 7, "baseline", { ...text, "text-anchor": "middle" }),
      svg("line", { class: "jr-zero", x1: x(span[0]), x2: x(span[1]), y1: y(0), y2: y(0) }),
    );
    draw(erpPanel, "jr-reference", line(plot, milliseconds, reference.erp));
    erpPanel.box.classList.toggle("jr-noisy", settings.noise > 0);
    if (settings.noise > 0) {
      const back = line(plot, [...milliseconds].reverse(), [...below].reverse());
      draw(erpPanel, "jr-band", `${line(plot, milliseconds, above)}${back.replace("M", "L")}Z`);
    }
    draw(erpPanel, "jr-line", line(plot, milliseconds, erp));
    erpPanel.plot = plot;
  }

  function drawStates() {
    const series = [0, 1, 2].map((k) => component(now.states, k));
    const plot = axes(statePanel, span, extent(...series), "time after the pulse (ms)", "mV");
    drawPulses(statePanel, plot);
    series.forEach((values, k) => draw(statePanel, `jr-y${k}`, line(plot, milliseconds, values)));
    statePanel.plot = plot;
    const ranges = series.map((values, k) => `y ${k} from ${spokenRange(values)} mV`).join(", ");
    set(statePanel.image, { "aria-label": `Potentials over the last trial: ${ranges}` });
  }

  function drawPhase() {
    const { v, dv, reference } = now;
    const [xRange, yRange] = [extent(v, reference.v), extent(dv, reference.dv)];
    const plot = axes(phasePanel, xRange, yRange, "y₁ − y₂ (mV)", "its derivative (mV/s)");
    draw(phasePanel, "jr-reference", line(plot, reference.v, reference.dv));
    draw(phasePanel, "jr-line", line(plot, v, dv));
    phasePanel.plot = plot;
    const text = `y 1 - y 2 from ${spokenRange(v)} mV, its derivative from ${spokenRange(dv)} mV/s`;
    set(phasePanel.image, { "aria-label": `Phase plane of the last trial: ${text}` });
  }

  /* Dots on a logarithmic axis that stays where it is, so that conventions can be compared. */
  function drawSensitivities() {
    const { sensitivities: found, referenceSensitivities: usual } = now;
    const [low, high] = [-6, 2];
    const target = sensitivityPanel;
    const width = target.image.clientWidth || 300;
    const height = target.image.clientHeight || target.height;
    const [left, right, top, bottom] = [34, width - 72, 8, height - MARGIN.bottom];
    const x = (value) => {
      const part = (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low);
      return left + Math.min(1, part) * (right - left);
    };
    const y = (k) => top + ((k + 0.5) / names.length) * (bottom - top);
    target.image.replaceChildren();
    set(target.image, { viewBox: `0 0 ${width} ${height}` });
    const grid = svg("g", { class: "jr-axis" });
    for (let power = low; power <= high; power += width < 400 ? 2 : 1) {
      const at = x(10 ** power);
      grid.append(
        svg("line", { x1: at, x2: at, y1: top, y2: bottom }),
        label(at, bottom + 15, `10${superscript(power)}`, { "text-anchor": "middle" }),
      );
    }
    const title = "relative change per relative change of a parameter";
    grid.append(
      label(width - 4, height - 5, title, { "text-anchor": "end", class: "jr-axis-label" }),
    );
    data.parameters.forEach(({ symbol }, k) => {
      grid.append(label(left - 8, y(k) + 4, plain(symbol), { "text-anchor": "end" }));
    });
    target.image.append(grid);
    names.forEach((_, k) => {
      if (found && Number.isFinite(found[k])) {
        target.image.append(
          svg("line", { class: "jr-bar", x1: left, x2: x(found[k]), y1: y(k), y2: y(k) }),
          svg("circle", { class: "jr-dot", cx: x(found[k]), cy: y(k), r: 5 }),
          label(width - 2, y(k) + 4, format(found[k], 2), {
            "text-anchor": "end",
            class: "jr-small",
          }),
        );
      }
      if (usual) {
        target.image.append(svg("circle", { class: "jr-ring", cx: x(usual[k]), cy: y(k), r: 5 }));
      }
    });
    const spokenValues = found
      ? data.parameters
          .map(({ symbol }, k) => `${spoken(symbol)} ${format(found[k], 2)}`)
          .join(", ")
      : "being computed";
    set(target.image, { "aria-label": `Relative sensitivities of the response: ${spokenValues}` });
  }

  // The head ------------------------------------------------------------------------------------

  const strongest = data.scalp.gain.reduce(
    (best, gain, k) => (Math.abs(gain) > Math.abs(data.scalp.gain[best]) ? k : best),
    0,
  );
  const map = element("canvas", { width: data.scalp.side, height: data.scalp.side });
  map.setAttribute("aria-hidden", "true");
  const HEAD = 100; // radius in the units of the drawing
  const BAR = 118; // where the colour bar begins, right of the head

  function headOutline() {
    const ear = (side) => `M${side * 97} -24C${side * 116} -30 ${side * 114} 26 ${side * 96} 26`;
    const nose = "M-14 -99L0 -117L14 -99";
    const head = svg("g", { class: "jr-head" });
    head.append(svg("circle", { r: HEAD }), svg("path", { d: ear(-1) + ear(1) + nose }));
    return head;
  }

  function buildScalp() {
    set(scalpPanel.image, { viewBox: "-122 -122 300 230" }); // the canvas lies below it, see the CSS
    scalpPanel.box.append(element("div", { class: "jr-map" }, map, scalpPanel.image));
    const dots = svg("g", { class: "jr-electrodes" });
    data.scalp.electrodes.forEach(([x, y], k) => {
      const dot = svg("circle", { cx: HEAD * x, cy: -HEAD * y, r: k === strongest ? 3.4 : 1.8 });
      const title = svg("title");
      title.textContent = data.scalp.names[k];
      dot.append(title);
      dots.append(dot);
    });
    const bar = svg("g", { class: "jr-axis" });
    const parts = 40;
    for (let i = 0; i < parts; i++) {
      const height = (2 * 80) / parts;
      bar.append(
        svg("rect", { x: BAR, y: 80 - (i + 1) * height, width: 12, height: height + 0.4 }),
      );
    }
    for (const y of [-80, 0, 80]) bar.append(label(BAR + 17, y + 4, ""));
    bar.append(label(BAR - 2, -92, "µV"));
    scalpPanel.image.append(headOutline(), dots, bar);
    scalpPanel.bar = [...bar.querySelectorAll("rect")];
    scalpPanel.marks = [...bar.querySelectorAll("text")];
  }

  /* Blue, the page's ground, vermilion: as far apart to the colour-blind as to others. */
  function palette() {
    const dark = document.documentElement.dataset.theme === "dark";
    const middle = dark ? [30, 36, 44] : [250, 250, 250];
    const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    const ends = [data.colors.negative, data.colors.positive].map(rgb);
    return (part) => {
      const end = ends[part < 0 ? 0 : 1];
      const weight = Math.min(1, Math.abs(part));
      return middle.map((value, i) => Math.round(value + weight * (end[i] - value)));
    };
  }

  function drawScalp() {
    const amplitude = now.erp[cursorIndex()];
    const largest = Math.max(...data.scalp.gain.map(Math.abs));
    const limit = largest * Math.max(...now.erp.map(Math.abs), 1e-12);
    const color = palette();
    const context = map.getContext("2d");
    const image = context.createImageData(data.scalp.side, data.scalp.side);
    data.scalp.grid.forEach((gain, i) => {
      image.data.set([...color((gain * amplitude) / limit), 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
    scalpPanel.bar.forEach((rect, i, all) => {
      rect.setAttribute("fill", `rgb(${color((2 * (i + 0.5)) / all.length - 1)})`);
    });
    [limit, 0, -limit].forEach((value, i) => (scalpPanel.marks[i].textContent = format(value, 2)));
    const value = `${format(data.scalp.gain[strongest] * amplitude, 3)} µV`;
    const name = data.scalp.names[strongest];
    scalpPanel.told.textContent = `strongest, ${name}: ${value}`;
    set(scalpPanel.image, {
      "aria-label": `Scalp potential at ${milliseconds[cursorIndex()].toFixed(0)} ms; ${name} has ${value}`,
    });
  }

  scalpPanel.told = element("span", { class: "jr-readout" });
  scalpPanel.heading.append(scalpPanel.told);

  // The cursor ----------------------------------------------------------------------------------

  function peakIndex(values = now.erp) {
    return values.reduce(
      (best, value, i) => (Math.abs(value) > Math.abs(values[best]) ? i : best),
      0,
    );
  }

  let pointed = null; // the sample that a mouse points at, without a click

  const sample = (index) => Math.min(milliseconds.length - 1, Math.max(0, Math.round(index)));

  function cursorIndex() {
    if (pointed !== null) return pointed;
    if (settings.cursor === null) return peakIndex();
    return sample((settings.cursor - data.protocol.epoch[0]) / data.protocol.dt);
  }

  function point(index) {
    pointed = index;
    drawCursor();
  }

  /* Keep the cursor at a sample; null lets it go back to the largest deflection. */
  function moveCursor(index) {
    settings.cursor = index === null ? null : Number((milliseconds[index] / 1e3).toFixed(6));
    point(null);
    rememberSoon();
  }

  /* A vertical line in the panels over time, a dot on the curves, and the map of that moment. */
  function drawCursor() {
    const i = cursorIndex();
    const t = milliseconds[i];
    for (const { image } of [erpPanel, statePanel, phasePanel]) {
      image.querySelectorAll(".jr-cursor").forEach((old) => old.remove());
    }
    for (const { image, plot } of [erpPanel, statePanel]) {
      const [x1, y2] = [plot.x(t), plot.bottom];
      image.append(svg("line", { class: "jr-cursor", x1, x2: x1, y1: MARGIN.top, y2 }));
    }
    const dot = ({ image, plot }, x, y) =>
      image.append(svg("circle", { class: "jr-cursor", cx: plot.x(x), cy: plot.y(y), r: 5 }));
    dot(erpPanel, t, now.erp[i]);
    dot(phasePanel, now.v[i], now.dv[i]);
    readout.textContent = `at ${format(Math.round(t), 4)} ms: ${format(now.erp[i])} mV`;
    set(erpPanel.image, {
      "aria-valuenow": t.toFixed(0),
      "aria-valuetext": `${t.toFixed(0)} milliseconds, ${format(now.erp[i])} millivolts`,
    });
    drawScalp();
  }

  function followPointer({ image }) {
    const under = (event) => {
      const left = image.getBoundingClientRect().left;
      const { plot } = image === erpPanel.image ? erpPanel : statePanel;
      const part = (event.clientX - left - plot.left) / (plot.right - plot.left);
      return sample(part * (milliseconds.length - 1));
    };
    image.addEventListener("pointerdown", (event) => moveCursor(under(event)));
    image.addEventListener("pointermove", (event) => {
      if (event.buttons) moveCursor(under(event));
      else point(under(event));
    });
    image.addEventListener("pointerleave", () => point(null));
  }

  function followKeys({ image }) {
    const steps = {
      ArrowLeft: -1,
      ArrowDown: -1,
      ArrowRight: 1,
      ArrowUp: 1,
      PageDown: -50,
      PageUp: 50,
    };
    image.addEventListener("keydown", (event) => {
      const { key, shiftKey } = event;
      if (key === "Home") moveCursor(0);
      else if (key === "End") moveCursor(milliseconds.length - 1);
      else if (key === "Escape") moveCursor(null);
      else if (key in steps) moveCursor(sample(cursorIndex() + steps[key] * (shiftKey ? 10 : 1)));
      else return;
      event.preventDefault();
    });
    set(image, {
      role: "slider",
      tabindex: 0,
      "aria-label": "Time of the cursor over the evoked response",
      "aria-valuemin": span[0],
      "aria-valuemax": span[1],
    });
  }

  // Updates -------------------------------------------------------------------------------------

  const now = {}; // what is shown: the result of the last simulation
  const references = new Map(); // the response and sensitivities at the typical values, by convention
  const initialProtocol = protocol(initial());
  let frame = 0;

  function simulated(theta, ofProtocol) {
    const result = model.erp(theta, ofProtocol, convention(settings.convention));
    return { ...result, v: potential(result.states), dv: slope(result.states) };
  }

  function reference() {
    const name = settings.convention;
    if (!references.has(name)) references.set(name, simulated(typical, initialProtocol));
    return references.get(name);
  }

  /* Ask for an update in the next frame; many changes within a frame make one. */
  function changed() {
    if (!frame) frame = requestAnimationFrame(update);
  }

  function update() {
    frame = 0;
    const begin = performance.now();
    const current = protocol(settings);
    Object.assign(now, simulated(effective(settings), current), { reference: reference() });
    const scale = data.sourceNoise * Math.sqrt(settings.noise);
    now.noise = variance(current).map((value) => scale * Math.sqrt(value));
    controls.forEach(showControl);
    showConvention();
    showPreset();
    showNull(current);
    root.style.setProperty("--jr-color", data.colors[settings.convention]);
    drawErp();
    drawStates();
    drawPhase();
    drawCursor();
    startSensitivities();
    root.dataset.updateMs = (performance.now() - begin).toFixed(1);
    describeSoon();
    rememberSoon();
  }

  let lastVariance = { isi: NaN, values: [] };

  function variance(current) {
    if (lastVariance.isi !== current.isi) {
      lastVariance = { isi: current.isi, values: model.averagingVariance(current) };
    }
    return lastVariance.values;
  }

  /* The select names the preset that is shown, or none. */
  function showPreset() {
    const select = root.querySelector("#explorer-preset");
    const same = presets.findIndex(({ k, value, convention: ofPreset, background }) => {
      const start = initial();
      if (k !== undefined) start.theta[k] = value;
      if (background !== undefined) start.background = background;
      return (
        (!ofPreset || ofPreset === settings.convention) &&
        start.theta.every((each, i) => each === settings.theta[i]) &&
        OTHERS.every((key) => key === "noise" || start[key] === settings[key])
      );
    });
    select.value = same < 0 ? "" : same;
  }

  /* How far the null direction moves the response, in parts of its range. */
  function showNull(current) {
    if (settings.scaling === 1) {
      nullResult.textContent = "Move it: C and the four contacts follow, the response does not.";
      return;
    }
    const unscaled = simulated(settings.theta, current).erp;
    const change = Math.max(...now.erp.map((value, i) => Math.abs(value - unscaled[i])));
    const range = Math.max(...unscaled) - Math.min(...unscaled);
    const part = range ? change / range : 0;
    nullResult.textContent = `Largest change of the response: ${format(part, 2)} of its range.`;
    nullResult.dataset.change = part;
  }

  /* Without pulses a resting column does nothing, and relative changes of nothing mean nothing. */
  const silent = () => now.erp.every((value) => Math.abs(value) < 1e-9);

  let sensitivityRun = 0;

  /* The 36 simulations of the sensitivities take longer than a frame, so they run in slices between
     frames. A newer run ends the older one; until it is complete the old dots stay, paler. */
  function startSensitivities() {
    const run = ++sensitivityRun;
    const ofConvention = convention(settings.convention);
    const known = reference();
    const jobs = [];
    if (!known.sensitivities) {
      jobs.push([typical, initialProtocol, (found) => (known.sensitivities = found)]);
    }
    if (silent()) now.sensitivities = names.map(() => NaN);
    else
      jobs.push([effective(settings), protocol(settings), (found) => (now.sensitivities = found)]);
    root.dataset.sensitivities = "pending";
    sensitivityPanel.image.classList.add("jr-pending");
    let steps = null;
    function slice() {
      if (run !== sensitivityRun) return;
      const end = performance.now() + 10;
      while (performance.now() < end && jobs.length) {
        const [theta, ofProtocol, keep] = jobs[0];
        steps ??= model.sensitivitySteps(theta, ofProtocol, ofConvention);
        const { done, value } = steps.next();
        if (!done) continue;
        keep(value);
        steps = null;
        jobs.shift();
      }
      if (jobs.length) {
        setTimeout(slice);
        return;
      }
      now.referenceSensitivities = known.sensitivities;
      sensitivityPanel.image.classList.remove("jr-pending");
      root.dataset.sensitivities = "done";
      drawSensitivities();
    }
    setTimeout(slice);
  }

  /* What the response does, in words; for everyone, and read out by screen readers. */
  function describe() {
    const { erp, trials, settled, reference: usual } = now;
    const i = peakIndex();
    const n = data.protocol.n_trials;
    const t = milliseconds[i];
    const when = `${Math.abs(t).toFixed(0)} ms ${t < 0 ? "before" : "after"} the pulse`;
    const peak = silent()
      ? "There is no response: what is left is rounding error."
      : `Largest deflection: ${format(erp[i])} mV, ${when}.`;
    const train = settled
      ? `Settled: trial ${trials} of ${n} repeats the one before.`
      : `Not settled: all ${n} trials are simulated and averaged.`;
    const difference =
      model.rms(erp.map((value, k) => value - usual.erp[k])) / model.rms(usual.erp);
    const against = difference
      ? `Differs from the typical response (grey) by ${format(100 * difference, 2)} % of its rms.`
      : "This is the typical response.";
    summary.textContent = `${peak} ${against} ${train}`;
  }

  /* Screen readers and the address bar hear of it when the sliders have come to rest. */
  const later = (action, wait) => {
    let timer;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(action, wait);
    };
  };
  const describeSoon = later(describe, 250);
  const rememberSoon = later(remember, 400);

  // Start ---------------------------------------------------------------------------------------

  function redraw() {
    if (!now.erp) return;
    drawErp();
    drawStates();
    drawPhase();
    drawCursor();
    drawSensitivities();
  }

  const grid = element("div", { class: "jr-grid" });
  grid.append(
    summary,
    erpPanel.box,
    controlPanel(),
    scalpPanel.box,
    phasePanel.box,
    statePanel.box,
    sensitivityPanel.box,
  );
  root.replaceChildren(grid);
  root.style.setProperty("--jr-positive", data.colors.positive);
  root.style.setProperty("--jr-negative", data.colors.negative);
  buildScalp();
  [erpPanel, statePanel].forEach(followPointer);
  followKeys(erpPanel);
  settings = fromHash(location.hash);
  window.addEventListener("hashchange", () => {
    if (!isOurs(location.hash)) return;
    settings = fromHash(location.hash);
    changed();
  });
  new ResizeObserver(redraw).observe(root);
  new MutationObserver(redraw).observe(document.documentElement, {
    attributeFilter: ["data-theme"],
  });
  // For the tests, and for the curious at the console.
  Object.assign(model, {
    data,
    explorer: {
      now,
      get settings() {
        return settings;
      },
    },
  });
  update();
  describe();
});

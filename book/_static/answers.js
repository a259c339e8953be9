/* One response, every answer: choose a test response and see what each method makes of it.

   All numbers come with the page, in the JSON that its cell makes from the stored results. Plots are
   drawn with drawing.js. A classic script without imports, so that it runs from file:// too. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("answers-app");
  if (!root) return; // Jupyter Book puts this script on every page
  const data = JSON.parse(document.getElementById("answers-data").textContent);
  const { format, plain, spoken, marked, element, html, svg, set, label } = window.Drawing;
  const { extent, panel, axes, line, draw } = window.Drawing;
  const conventions = Object.keys(data.conventions);
  const n = data.conventions[conventions[0]].responses.length;
  const ROW = 40; // pixels for each quantity
  const LEFT = 46;
  const RIGHT = 12;

  // Settings, which the link of the page carries --------------------------------------------------

  function fromHash() {
    const fields = new URLSearchParams(location.hash.slice(1));
    const number = Number(fields.get("response"));
    return {
      convention: conventions.find((name) => name === fields.get("convention")) ?? "CLASSIC",
      response: Number.isInteger(number) && number >= 1 && number <= n ? number : 1,
    };
  }

  let settings = fromHash();

  function changed() {
    const { convention, response } = settings;
    history.replaceState(null, "", `#convention=${convention}&response=${response}`);
    update();
  }

  // Controls --------------------------------------------------------------------------------------

  const choice = element("fieldset", { class: "jr-conventions" });
  choice.append(element("legend", {}, "Convention of the sigmoid"));
  const options = element("div", { class: "jr-options" });
  for (const name of conventions) {
    const radio = element("input", { type: "radio", name: "answers-convention", value: name });
    radio.addEventListener("change", () => {
      settings.convention = name;
      changed();
    });
    options.append(element("label", {}, radio, element("span", {}, name)));
  }
  choice.append(options);

  const slider = element("input", { type: "range", id: "answers-response", min: 1, max: n });
  const told = element("output", { for: "answers-response" });
  slider.addEventListener("input", () => {
    settings.response = Number(slider.value);
    changed();
  });
  const responses = element("fieldset", { class: "jr-choose" });
  responses.append(element("legend", {}, "Test response"));
  const name = element("label", { for: "answers-response", class: "visually-hidden" }, "Number");
  responses.append(name, slider, told);
  const controls = element("div", { class: "jr-controls jr-answers-controls" }, choice, responses);

  // Legend ----------------------------------------------------------------------------------------

  const legend = element("ul", { class: "jr-key" });
  const chip = (className, color, text) => {
    const mark = element("span", { class: className, style: `--jr-color: ${color}` });
    legend.append(element("li", {}, mark, text));
  };
  chip("jr-chip-truth", data.colors.truth, "truth");
  chip("jr-chip-bar", data.colors.prior, "prior");
  chip("jr-chip-bar", data.colors.reference, "exact posterior");
  chip("jr-chip-bar", data.colors.npe, `NPE, ${data.nNpe} simulations`);
  for (const method of data.methods) chip("jr-chip-dot", method.color, method.label);

  const wave = panel("wave", "What the sensors give: the matched filter's output", 220);
  const rows = panel("answers", "Every answer", ROW * data.quantities.length + 30);
  const table = element("details", { class: "jr-numbers" });
  root.append(controls, wave.box, rows.box, table);
  rows.heading.after(legend);

  // Drawing ---------------------------------------------------------------------------------------

  function drawWave(shown, times) {
    const ms = times.map((t) => 1e3 * t);
    const range = [ms[0], ms[ms.length - 1]];
    const frame = axes(wave, range, extent(shown.observed), "time after the pulse (ms)", "mV");
    draw(wave, "jr-line", line(frame, ms, shown.observed));
    wave.image.setAttribute("aria-label", `Response ${settings.response}, ${settings.convention}`);
  }

  function drawRows(shown) {
    const width = rows.image.clientWidth || 300;
    const height = ROW * data.quantities.length + 30;
    rows.image.replaceChildren();
    set(rows.image, { viewBox: `0 0 ${width} ${height}`, height });
    data.quantities.forEach((quantity, k) => {
      const top = k * ROW;
      const { low, high } = quantity;
      const x = (value) =>
        LEFT + (Math.min(Math.max(value, low), high) - low) * ((width - LEFT - RIGHT) / (high - low));
      const bar = ([from, to], y, thickness, color, title) => {
        const wide = Math.max(x(to) - x(from), 1.5);
        const rect = svg("rect", { x: x(from), y, width: wide, height: thickness, fill: color });
        rect.append(titled(`${title}: ${format(from)} to ${format(to)}`));
        rows.image.append(rect);
      };
      const group = svg("g", { class: "jr-axis" });
      const middle = top + ROW / 2 + 2;
      group.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: top + ROW, y2: top + ROW }));
      group.append(label(0, middle + 4, plain(quantity.name), { class: "jr-quantity" }));
      rows.image.append(group);
      bar(quantity.prior, top + 5, ROW - 10, data.colors.prior, "prior");
      if (shown.reference) bar(shown.reference[k], top + 8, 6, data.colors.reference, "exact");
      bar(shown.npe[k], top + 16, 6, data.colors.npe, "NPE");
      data.methods.forEach((method, i) => {
        const y = top + 29 + 3 * ((i % 3) - 1);
        const at = { cx: x(shown.estimates[method.name][k]), cy: y, r: 3, fill: method.color };
        const dot = svg("circle", at);
        dot.append(titled(`${method.label}: ${format(shown.estimates[method.name][k])}`));
        rows.image.append(dot);
      });
      const at = x(shown.truth[k]);
      const truth = { x1: at, x2: at, y1: top + 3, y2: top + ROW - 3, class: "jr-truth" };
      rows.image.append(svg("line", truth));
    });
    const bottom = height - 8;
    rows.image.append(label(LEFT, bottom, "lowest of the prior", { class: "jr-axis-label" }));
    const end = { class: "jr-axis-label", "text-anchor": "end" };
    rows.image.append(label(width - RIGHT, bottom, "highest", end));
    rows.image.setAttribute("aria-label", "Estimates and intervals; the table below has the numbers");
  }

  const titled = (text) => {
    const title = svg("title");
    title.textContent = text;
    return title;
  };

  function writeTable(shown) {
    const heads = ["", "truth", "exact posterior, 90 %", "NPE, 90 %"];
    heads.push(...data.methods.map((method) => method.label));
    const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
    const interval = ([low, high]) => `${format(low)} to ${format(high)}`;
    const body = data.quantities.map((quantity, k) => {
      const cells = [
        format(shown.truth[k]),
        shown.reference ? interval(shown.reference[k]) : "none",
        interval(shown.npe[k]),
        ...data.methods.map((method) => format(shown.estimates[method.name][k])),
      ];
      const first = html("th", { scope: "row" }, quantity.name.split(" ").map(marked).join(" "));
      return element("tr", {}, first, ...cells.map((text) => element("td", {}, text)));
    });
    const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
    const box = element("div", { class: "jr-scroll", tabindex: 0, role: "region" }, made);
    box.setAttribute("aria-label", "Numbers of the plot, scrolls sideways");
    table.replaceChildren(element("summary", {}, "The numbers"), box);
  }

  function update() {
    const { convention, response } = settings;
    const { times, responses: all } = data.conventions[convention];
    const shown = all[response - 1];
    root.style.setProperty("--jr-color", data.colors[convention]);
    for (const radio of choice.querySelectorAll("input")) {
      radio.checked = radio.value === convention;
    }
    slider.value = response;
    slider.setAttribute("aria-valuetext", `${response} of ${n}`);
    told.value = `${response} of ${n}`;
    drawWave(shown, times);
    drawRows(shown);
    const open = table.open;
    writeTable(shown);
    table.open = open;
  }

  window.addEventListener("hashchange", () => {
    settings = fromHash();
    update();
  });
  new ResizeObserver(update).observe(root);
  root.dataset.ready = `${spoken(data.quantities[0].name)} drawn`;
});

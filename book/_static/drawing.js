/* What the explorer writes and draws with: numbers, symbols, elements, and plots in SVG. */
"use strict";

window.Drawing = (() => {
  // Text ----------------------------------------------------------------------------------------

  const SUBSCRIPTS = { e: "ₑ", i: "ᵢ", 1: "₁", 2: "₂", 3: "₃", 4: "₄" };
  const plain = (symbol) => symbol.replace(/_(.)/g, (_, index) => SUBSCRIPTS[index]);
  const spoken = (symbol) => symbol.replace("_", " ");
  const marked = (symbol) => symbol.replace(/^([A-Za-z]+)(?:_(.))?$/, "<i>$1</i><sub>$2</sub>");

  /* A number with a few digits and a true minus sign. */
  function format(value, digits = 3) {
    if (value === 0) return "0";
    if (Number.isNaN(value)) return "none";
    const size = Math.abs(value);
    if (size >= 1e-3 && size < 1e5) {
      return String(Number(value.toPrecision(digits))).replace("-", "−");
    }
    const [mantissa, exponent] = value
      .toExponential(digits - 1)
      .split("e")
      .map(Number);
    const power = `10${superscript(exponent)}`;
    return mantissa === 1 ? power : `${mantissa} × ${power}`.replace("-", "−");
  }

  const superscript = (n) => [...String(n)].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("");

  const spokenRange = (values) =>
    [Math.min(...values), Math.max(...values)].map((v) => format(v, 2)).join(" to ");

  // Elements ------------------------------------------------------------------------------------

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function html(name, attributes, content) {
    const made = element(name, attributes);
    made.innerHTML = content;
    return made;
  }

  function svg(name, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    return set(made, attributes, ...children);
  }

  function set(node, attributes, ...children) {
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  const label = (x, y, text, attributes = {}) => {
    const made = svg("text", { x, y, ...attributes });
    made.textContent = text;
    return made;
  };

  // Plots ---------------------------------------------------------------------------------------

  const MARGIN = { top: 16, right: 12, bottom: 38 };

  /* Round numbers that divide the span into about `count` parts. */
  function ticks(low, high, count) {
    const raw = (high - low) / count;
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= raw);
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  }

  /* The smallest and largest of some series, with a margin; never empty. */
  function extent(...series) {
    let [low, high] = [Infinity, -Infinity];
    for (const values of series) {
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    const pad = 0.06 * (high - low) || Math.abs(high) || 1;
    return [low - pad, high + pad];
  }

  /* A panel with a heading and an svg as wide as its place. */
  function panel(key, title, height) {
    const image = svg("svg", { class: "jr-plot", height, role: "img", "aria-label": title });
    const heading = html("h2", { class: "jr-title" }, title);
    const box = element("section", { class: `jr-panel jr-${key}` }, heading, image);
    return { box, heading, image, height };
  }

  /* Begin a drawing: empty the svg, draw axes and grid, and return what maps numbers to pixels. */
  function axes(target, xRange, yRange, xLabel, yLabel) {
    const width = target.image.clientWidth || 300;
    const height = target.image.clientHeight || target.height;
    const levels = ticks(...yRange, Math.max(3, height / 50));
    const widest = Math.max(...levels.map((v) => format(v).length));
    const left = 32 + 7 * widest; // room for the tick labels beside the axis label
    const inner = { left, right: width - MARGIN.right, bottom: height - MARGIN.bottom };
    const x = (v) => left + ((v - xRange[0]) / (xRange[1] - xRange[0])) * (inner.right - left);
    const y = (v) =>
      inner.bottom - ((v - yRange[0]) / (yRange[1] - yRange[0])) * (inner.bottom - MARGIN.top);
    target.image.replaceChildren();
    set(target.image, { viewBox: `0 0 ${width} ${height}` });
    const grid = svg("g", { class: "jr-axis" });
    for (const v of levels) {
      grid.append(svg("line", { x1: left, x2: inner.right, y1: y(v), y2: y(v) }));
      grid.append(label(left - 6, y(v) + 4, format(v), { "text-anchor": "end" }));
    }
    for (const v of ticks(...xRange, Math.max(3, width / 90))) {
      grid.append(svg("line", { x1: x(v), x2: x(v), y1: MARGIN.top, y2: inner.bottom }));
      grid.append(label(x(v), inner.bottom + 15, format(v), { "text-anchor": "middle" }));
    }
    const middle = (MARGIN.top + inner.bottom) / 2;
    const turned = `rotate(-90 12 ${middle})`;
    grid.append(
      label(inner.right, height - 5, xLabel, { "text-anchor": "end", class: "jr-axis-label" }),
      label(12, middle, yLabel, {
        "text-anchor": "middle",
        transform: turned,
        class: "jr-axis-label",
      }),
    );
    target.image.append(grid);
    return { x, y, ...inner, width, height };
  }

  function line({ x, y }, xs, ys) {
    let path = "";
    for (let i = 0; i < ys.length; i++) {
      path += `${i ? "L" : "M"}${x(xs[i]).toFixed(1)} ${y(ys[i]).toFixed(1)}`;
    }
    return path;
  }

  const draw = (target, className, d) => target.image.append(svg("path", { class: className, d }));

  return {
    format,
    superscript,
    plain,
    spoken,
    marked,
    spokenRange,
    element,
    html,
    svg,
    set,
    label,
    MARGIN,
    extent,
    panel,
    axes,
    line,
    draw,
  };
})();

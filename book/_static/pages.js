/* What the theme leaves out for readers who use a keyboard or a screen reader. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  // A table or figure wider than the page scrolls in a box of its own, which the keyboard must reach.
  const boxes = document.querySelectorAll(
    ".pst-scrollable-table-container, .cell_output .text_html, .bd-content figure",
  );
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) {
        const figure = target.matches("figure");
        target.tabIndex = 0;
        target.setAttribute("role", figure ? "figure" : "region");
        target.setAttribute("aria-label", `${figure ? "Figure" : "Table"}, scrolls sideways`);
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) target.removeAttribute(name);
      }
    }
  });
  boxes.forEach((box) => box.querySelector("table, img") && sizes.observe(box));

  // Browsers would show notebooks as text. (From disk they still do, in a tab; the file is there.)
  for (const link of document.querySelectorAll(".dropdown-download-buttons a")) link.download = "";

  // Sphinx calls the references a list, and its entries what lists may not contain.
  for (const entry of document.querySelectorAll(".citation-list > .citation")) {
    entry.setAttribute("role", "listitem");
  }
});

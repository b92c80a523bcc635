"use strict";
// a click on a column's head sorts the rows by it, a second one the other way round
const table = document.querySelector("table.cohort");
const body = table.tBodies[0];
table.querySelectorAll("thead th").forEach((head, column) => {
  const button = head.querySelector("button");
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.value ?? "";
    const rows = Array.from(body.rows);
    rows.sort((a, b) => {
      const [p, q] = [key(a), key(b)];
      // what has no number comes last, whichever way
      if (p === "" || q === "") return (p === "") - (q === "");
      const [x, y] = [Number(p), Number(q)];
      const order = Number.isNaN(x) || Number.isNaN(y) ? p.localeCompare(q) : x - y;
      return down ? -order : order;
    });
    rows.forEach((row) => body.append(row));
  });
});
document.body.dataset.ready = "yes";

"use strict";

// A report is whole without this script. It adds what a page alone cannot do: it sorts and filters
// the tables, collapses rows without a problem where there are many, and copies lines of code.
// Sorting and filter stand in the address after the `#`, so that a link shows the same rows.

document.documentElement.classList.add("script");

const UNITS = {
  "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
  "µs": 1e-6, "ms": 1e-3, "s": 1, "million": 1e6, "over": 1e9,
};
const ORDER = new Intl.Collator("en", { numeric: true });

function make(name, properties, ...content) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...content);
  return made;
}

function button(text, onClick) {
  const made = make("button", { type: "button" }, text);
  made.addEventListener("click", onClick);
  return made;
}

// The number that a cell is sorted by, in the unit's base; undefined if it has none.
function numberOf(cell) {
  if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
  const text = cell.textContent.trim();
  const found = /^(?:(over)|([\d,.]+(?:e-?\d+)?)\s*(\S*))/.exec(text);
  if (!found) return undefined;
  const digits = found[1] ? 1 : Number(found[2].replaceAll(",", ""));
  return digits * (UNITS[found[1] || found[3]] || 1);
}

// Numbers come before words, and cells without a value last, in either direction.
function compare(left, right, direction) {
  const [a, b] = [left, right].map(numberOf);
  const missing = (a === undefined) - (b === undefined);
  if (missing) return missing;
  if (a !== undefined) return direction * (a === b ? 0 : a < b ? -1 : 1);
  return direction * ORDER.compare(left.textContent, right.textContent);
}

class Table {
  constructor(element, onChange) {
    this.element = element;
    this.onChange = onChange;
    this.heads = [...element.tHead.rows[0].cells];
    this.body = element.tBodies[0];
    this.rows = [...this.body.rows];
    this.texts = this.rows.map((row) => row.textContent.toLowerCase());
    this.sorted = null;
    // Every table has them, also if it has one row: the keyboard scrolls a table that has the focus.
    this.heads.forEach((head, column) => this.addButton(head, column));
    this.collapsed = this.rows.filter((row) => row.classList.contains("fine")).length;
    if (this.collapsed) this.addExpander();
  }

  addButton(head, column) {
    const name = head.firstChild;
    const sort = button("", () => {
      const ascending = this.sorted?.column === column && this.sorted.direction === "ascending";
      this.sort(column, ascending ? "descending" : "ascending");
      this.onChange();
    });
    head.prepend(sort);
    sort.append(name);
  }

  sort(column, direction) {
    const sign = direction === "descending" ? -1 : 1;
    const rows = [...this.rows].sort(
      (a, b) => compare(a.cells[column], b.cells[column], sign),
    );
    this.body.append(...rows);
    this.heads.forEach((head) => head.removeAttribute("aria-sort"));
    this.heads[column].setAttribute("aria-sort", direction);
    this.sorted = { column, direction };
  }

  // Collapsed rows are hidden by the style, until the table is expanded or a filter is on.
  addExpander() {
    this.expander = button("", () => {
      this.element.classList.toggle("expanded");
      this.label();
    });
    this.expander.classList.add("expander");
    this.element.parentElement.after(this.expander);
    this.label();
  }

  label() {
    const expanded = this.element.classList.contains("expanded");
    this.expander.setAttribute("aria-expanded", String(expanded));
    const number = this.collapsed.toLocaleString("en");
    this.expander.textContent = `${expanded ? "Hide" : "Show"} ${number} rows without a problem`;
  }

  filter(words) {
    this.element.classList.toggle("filtered", words.length > 0);
    let found = 0;
    this.rows.forEach((row, index) => {
      const matches = words.every((word) => this.texts[index].includes(word));
      row.hidden = !matches;
      found += matches;
    });
    this.element.parentElement.classList.toggle("none", found === 0);
    if (this.expander) this.expander.hidden = words.length > 0;
    return found;
  }
}

class Page {
  constructor() {
    this.tables = [...document.querySelectorAll(".table > table")].map(
      (element) => new Table(element, () => this.remember()),
    );
    this.search = document.querySelector(".filter");
    this.box = this.search?.querySelector("input");
    this.count = this.search?.querySelector("output");
    this.total = this.tables.reduce((sum, table) => sum + table.rows.length, 0);
    if (this.box) {
      this.search.hidden = this.total < 2;
      this.box.addEventListener("input", () => { this.filter(); this.remember(); });
    }
    addEventListener("hashchange", () => this.recall());
    this.recall();
  }

  filter() {
    const words = this.box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.tables.reduce((sum, table) => sum + table.filter(words), 0);
    const [some, all] = [found, this.total].map((number) => number.toLocaleString("en"));
    this.count.textContent = words.length ? `${some} of ${all} rows` : "";
  }

  // A frame without an address of its own, as in the page of the service, cannot keep the state.
  remember() {
    const state = new URLSearchParams();
    if (this.box?.value) state.set("filter", this.box.value);
    this.tables.forEach(({ sorted }, index) => {
      if (sorted) state.append("sort", `${index}.${sorted.column}.${sorted.direction}`);
    });
    try {
      history.replaceState(null, "", `#${state}`);
    } catch {
      // The rows are sorted and filtered nevertheless.
    }
  }

  recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const each of state.getAll("sort")) {
      const [index, column, direction] = each.split(".");
      const table = this.tables[index];
      const known = direction === "ascending" || direction === "descending";
      if (known && table?.heads[column]) table.sort(Number(column), direction);
    }
    if (this.box) {
      this.box.value = state.get("filter") ?? this.box.value;
      this.filter();
    }
  }
}

// A selection can be copied everywhere. The clipboard itself is closed to pages without encryption
// and to frames of other origins, where asking for it would log an error.
function copy(source) {
  getSelection().selectAllChildren(source);
  const done = document.execCommand("copy");
  if (done) getSelection().removeAllRanges();
  return done;
}

function addCopyButton(source) {
  const said = make("span", { className: "said" });
  said.setAttribute("role", "status");
  const press = button("Copy", () => {
    said.textContent = copy(source) ? "Copied." : "Press Ctrl+C to copy.";
  });
  source.after(make("p", { className: "copy" }, press, said));
}

// A frame without an address would load the page around it in itself; and the address has the state.
function follow(event) {
  const link = event.target.closest?.('a[href^="#"]');
  const target = link && document.getElementById(link.getAttribute("href").slice(1));
  if (!target) return;
  event.preventDefault();
  target.scrollIntoView();
  target.focus({ preventScroll: true });
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("pre.load").forEach(addCopyButton);
  document.addEventListener("click", follow);
  new Page();
});

"use strict";
(() => {
  const rows = [...document.querySelectorAll("li.row")];
  const button = document.getElementById("save");
  const count = document.getElementById("decided");
  const store = "hf-otw-audit:" + document.title;
  const quoted = (text) => '"' + String(text).replaceAll('"', '""') + '"';

  const decisions = () => rows.filter((row) => row.querySelector("select").value).map((row) => {
    const chosen = row.querySelector("select").selectedOptions[0];
    return [row.dataset.row, row.dataset.given, chosen.value, chosen.dataset.label ?? ""];
  });

  const show = () => {
    const made = decisions();
    for (const row of rows) {
      row.classList.toggle("is-decided", row.querySelector("select").value !== "");
    }
    button.disabled = made.length === 0;
    count.textContent = made.length ? `${made.length} of ${rows.length} decided` : "none yet";
    try {
      localStorage.setItem(store, JSON.stringify(made));
    } catch {
      // A browser that keeps nothing for local files: decisions last as long as the page is open.
    }
  };

  const restore = () => {
    try {
      for (const [number, given, action, label] of JSON.parse(localStorage.getItem(store) ?? "[]")) {
        const row = rows.find((other) => other.dataset.row === number && other.dataset.given === given);
        const options = row ? [...row.querySelector("select").options] : [];
        const chosen = options.find((o) => o.value === action && (o.dataset.label ?? "") === label);
        if (chosen) {
          chosen.selected = true;
        }
      }
    } catch {
      // See above.
    }
  };

  button.addEventListener("click", () => {
    const lines = [["example_index", "given", "decision", "label"], ...decisions()];
    const text = lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "decisions.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  document.addEventListener("change", show);
  restore();
  show();
})();

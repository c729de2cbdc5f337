"""The picture of docs/decide.md, from the kept results: `python -m tools.picture` writes it, a test compares it."""

from __future__ import annotations

import html
from pathlib import Path

from hf_otw.recipe.find import folder_recipes
from tools.table import IN_OWN_UNIT, RECIPES, RESULTS, Results, read_results, values

PICTURE = Path(__file__).parents[1] / "docs" / "assets" / "gains.svg"
ROW, LEFT, WIDTH, RIGHT = 30, 300, 380, 70
BETTER, WORSE, INK, GRID = "#0d7a70", "#b4480c", "#586474", "#c9d0d8"


def gains(found: Results) -> list[tuple[str, str, float]]:
    """Recipe, metric and points gained by the weighted run, for metrics that are shares; the largest gain first."""
    folders = dict.fromkeys(name.rpartition("/")[0] for name in folder_recipes(RECIPES))
    rows = []
    for folder in folders:
        plain, weighted = found.get(f"{folder}/plain"), found.get(f"{folder}/ot")
        if plain is None or weighted is None:
            continue
        name = plain["metric"]["name"]
        if not any(unit in name for unit in IN_OWN_UNIT):
            mean = [sum(values(run)) / len(values(run)) for run in (plain, weighted)]
            rows.append((folder, name.replace("_", " "), mean[1] - mean[0]))
    return sorted(rows, key=lambda row: -row[2])


def svg(rows: list[tuple[str, str, float]]) -> str:
    """Bars to the right of 0 for gains, to the left for losses; readable on a light and on a dark page."""
    low, high = min(0.0, *(gain for *_, gain in rows)), max(0.0, *(gain for *_, gain in rows))
    scale = WIDTH / (high - low)
    zero, height, width = LEFT - low * scale, ROW * len(rows) + 40, LEFT + WIDTH + RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>Points gained by the weighted run over the stock Trainer</title>",
        f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="10" y2="{height - 24}" stroke="{GRID}"/>',
    ]
    for place, (folder, metric, gain) in enumerate(rows):
        y = 12 + ROW * place
        x, size = (zero, gain * scale) if gain >= 0 else (zero + gain * scale, -gain * scale)
        parts += [
            f'<text x="{LEFT - 70}" y="{y + 14}" text-anchor="end" fill="{INK}">{html.escape(folder)}</text>',
            f'<rect x="{x:.1f}" y="{y}" width="{max(size, 1):.1f}" height="20" rx="3" '
            f'fill="{BETTER if gain >= 0 else WORSE}"><title>{html.escape(metric)}</title></rect>',
            f'<text x="{x + size + 6 if gain >= 0 else x - 6:.1f}" y="{y + 14}" fill="{INK}" '
            f'text-anchor="{"start" if gain >= 0 else "end"}">{gain:+.1f}</text>',
        ]
    note = "points of the recipe's main metric, weighted less stock Trainer"
    parts.append(f'<text x="{zero:.1f}" y="{height - 6}" fill="{INK}" text-anchor="middle">{note}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Write the picture."""
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(svg(gains(read_results(RESULTS))), encoding="utf-8")


if __name__ == "__main__":
    main()

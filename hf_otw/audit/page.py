"""The audit as one self-contained HTML page: the worst rows, with their texts or thumbnails."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from hf_otw.audit.findings import Finding
from hf_otw.audit.judge import Verdicts
from hf_otw.audit.labelled import Labelled
from hf_otw.report.theme import DARK, LIGHT

TEMPLATE = Path(__file__).parent / "templates" / "audit.html.jinja"
SCRIPT = TEMPLATE.with_name("decisions.js")
#: Classes above which a row's choice names the given and the suggested one only.
MAX_CHOICES = 60
THUMBNAIL = 160  # pixels of the longer side
FOLD = 280  # characters of a text before it is folded


def write_page(
    path: str | Path,
    rows: Labelled,
    verdicts: Verdicts,
    found: list[Finding],
    *,
    title: str,
    limit: int = 100,
    review: Collection[int] = (),
) -> Path:
    """Write the page and return where it is. It opens offline and loads nothing.

    On it a person says of each row whether its label is right, what it should be, or that the row should go, and saves
    that as a file for `hf-otw audit --decisions`.

    Args:
        path: the file to write; missing folders are made.
        rows: what was audited.
        verdicts: of all rows.
        found: of `hf_otw.audit.findings.findings`.
        title: heading.
        limit: rows of each kind.
        review: numbers of rows that come first, whatever was found of them.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    place = {int(index): row for row, index in enumerate(rows.index)}
    first = [finding for finding in found if finding.example_index in review]
    others = [finding for finding in found if finding.example_index not in review]
    parts = {"review": first} | {kind: [f for f in others if f.kind == kind] for kind in ("label", "far")}
    script = SCRIPT.read_text(encoding="utf-8")
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        total=len(found),
        num_classes=len(rows.class_names),
        made_of=rows.model,
        doubted=int(verdicts.is_doubted.sum()),
        far=int(verdicts.is_far.sum()),
        rate=verdicts.rate,
        precision=verdicts.precision,
        class_names=rows.class_names if len(rows.class_names) <= MAX_CHOICES else [],
        script=markupsafe.Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        counts={kind: len(part) for kind, part in parts.items()},
        parts={kind: [card(rows, place, finding) for finding in part[:limit]] for kind, part in parts.items()},
        classes=class_rows(rows, verdicts),
        light=LIGHT,
        dark=DARK,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page.encode("utf-8", errors="replace"))  # texts may hold lone surrogates
    return path


def card(rows: Labelled, place: dict[int, int], finding: Finding) -> dict[str, Any]:
    """One row as the template shows it."""
    text = finding.text.strip()
    folded = len(text) > FOLD
    return {
        **finding._asdict(),
        "text": text if folded else None,
        "short": " ".join(text[:FOLD].split()) + "…" if folded else text,
        "thumbnail": thumbnail(rows, place[finding.example_index]) if rows.content.kind == "image" else None,
        "percent": round(100 * finding.quality),
    }


def thumbnail(rows: Labelled, row: int) -> str:
    """A picture as a data URL."""
    column = rows.content.names[0]
    image = rows.frame.pictures[column].with_format(None)[row][column].convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def class_rows(rows: Labelled, verdicts: Verdicts) -> list[dict[str, Any]]:
    """How many labels of each class are doubted, the largest share first."""
    found = []
    for k, name in enumerate(rows.class_names):
        own = rows.labels == k
        if own.any():
            doubted = int((verdicts.is_doubted & own).sum())
            found.append({"name": name, "count": int(own.sum()), "doubted": doubted, "share": doubted / own.sum()})
    return sorted(found, key=lambda row: -row["share"])

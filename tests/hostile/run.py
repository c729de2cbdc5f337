"""Try every hostile recipe and record how many did no harm.

python -m tests.hostile.run      # the counts go to benchmarks/results/reliability.json; make hostile
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.reliability import record
from tests.hostile.arena import arena, judge
from tests.hostile.cases import CASES


def main() -> None:
    """Run, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="write no counts")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    chosen, refused, harmless = [case for case in CASES if options.only in case.name], 0, 0
    with tempfile.TemporaryDirectory() as folder, arena(Path(folder)) as found:
        for case in chosen:
            done, harm = found.attack(case)
            wrong = judge(case, done, harm)
            refused += not wrong and case.reason is not None
            harmless += not wrong and case.reason is None
            print(f"{case.name}: {'; '.join(wrong) or ('refused' if case.reason else 'harmless')}")
    print(f"{len(chosen)} tried, {refused} refused, {harmless} without harm")
    if not options.dry_run and len(chosen) == len(CASES):
        record("hostile_recipes", {"tried": len(chosen), "refused": refused, "harmless": harmless})
    sys.exit(refused + harmless != len(chosen))


if __name__ == "__main__":
    main()

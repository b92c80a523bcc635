"""Run every benchmark, keep its table, and say what changed: ``python -m benchmarks [NAME ...]``.

A benchmark is a script in this folder that prints its table. What it prints goes to
``benchmarks/tables/NAME.txt``.
"""

import difflib
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
TABLES = HERE / "tables"


def main(names: list[str]) -> int:
    scripts = [p.stem for p in sorted(HERE.glob("*.py")) if not p.stem.startswith("_")]
    unknown = set(names) - set(scripts)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(scripts)}")
        return 2
    TABLES.mkdir(exist_ok=True)
    failed = []
    for name in names or scripts:
        start = time.perf_counter()
        run = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"],
            capture_output=True, text=True, check=False, cwd=HERE.parent,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        if run.returncode:
            failed.append(name)
            print(f"== {name}: FAILED after {seconds:.0f} s\n{run.stderr}")
            continue
        table = TABLES / f"{name}.txt"
        before = table.read_text("utf-8") if table.exists() else ""
        table.write_text(run.stdout, "utf-8")
        state = "new" if not before else "same" if before == run.stdout else "changed"
        print(f"== {name}: {state}, {seconds:.0f} s\n{run.stdout}")
        if state == "changed":
            changes = difflib.unified_diff(before.splitlines(), run.stdout.splitlines(), n=0)
            print("what changed:\n" + "\n".join(list(changes)[2:]))
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

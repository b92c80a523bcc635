"""Wall time of ``import mrs_necrosis`` and of ``mrs-necrosis --help``; the bar is 0.3 s."""

import statistics
import subprocess
import sys
import time

BAR_S = 0.3
RUNS = 7
COMMANDS = {
    "python -c pass (baseline)": ["-c", "pass"],
    "import mrs_necrosis": ["-c", "import mrs_necrosis"],
    "mrs-necrosis --help": ["-m", "mrs_necrosis", "--help"],
    "mrs-necrosis analyze --help": ["-m", "mrs_necrosis", "analyze", "--help"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    print(f"{'command':<30}{'median s':>10}{'best s':>10}{'bar s':>8}")
    for name, arguments in COMMANDS.items():
        times = [seconds(arguments) for _ in range(RUNS)]
        median, best = statistics.median(times), min(times)
        print(f"{name:<30}{median:>10.2f}{best:>10.2f}{BAR_S:>8.1f}")


if __name__ == "__main__":
    main()

"""The whole suite in two halves side by side: `python -m tests.run [pytest's arguments]`.

One half mostly waits, for engines, services and their ends; the other mostly computes. Together they take little more than the
longer one. With a path or `-k` among the arguments it is plain pytest.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
WAITING = ("contract", "docs", "faults", "soak")


def main(arguments: list[str]) -> int:
    pytest = [sys.executable, "-m", "pytest", "--durations=15"]
    if any(argument == "-k" or not argument.startswith("-") for argument in arguments):
        return subprocess.run([*pytest, *arguments], check=False, cwd=ROOT).returncode
    waiting = [f"tests/{name}" for name in WAITING]
    others = sorted(f"tests/{path.name}" for path in TESTS.iterdir() if _has_tests(path) and path.name not in WAITING)
    # the other half speaks when this one has ended: two reports at a time could not be read
    with tempfile.TemporaryFile() as report:
        computing = [*pytest, "-p", "no:cacheprovider", *arguments, *others]
        with subprocess.Popen(computing, cwd=ROOT, stdout=report, stderr=subprocess.STDOUT) as process:
            first = subprocess.run([*pytest, *arguments, *waiting], check=False, cwd=ROOT).returncode
            print(f"\nAnd {' '.join(others)}, which ran at the same time:\n", flush=True)
            second = process.wait()
        report.seek(0)
        sys.stdout.buffer.write(report.read())
    return first or second


def _has_tests(path: Path) -> bool:
    """The real clients of `tests/conformance` have a command of their own."""
    return path.is_dir() and path.name != "conformance" and any(path.rglob("test_*.py"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

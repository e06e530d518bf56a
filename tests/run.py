"""The whole suite in three parts side by side: `python -m tests.run [pytest's arguments]`.

Two of them mostly wait, for engines, browsers, services and their ends; the third mostly computes. Together they take little
more than the longest. With a path or `-k` among the arguments it is plain pytest.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
WAITING: tuple[tuple[str, ...], ...] = (("contract", "docs", "web"), ("deploy", "faults", "soak"))


def main(arguments: list[str]) -> int:
    pytest = [sys.executable, "-m", "pytest", "--durations=15"]
    if any(argument == "-k" or not argument.startswith("-") for argument in arguments):
        return subprocess.run([*pytest, *arguments], check=False, cwd=ROOT).returncode
    first, *parts = WAITING
    waiting = {name for part in WAITING for name in part}
    parts.append(tuple(sorted(path.name for path in TESTS.iterdir() if _has_tests(path) and path.name not in waiting)))
    with ExitStack() as stack:
        # the other parts speak when the first has ended: several reports at a time could not be read
        reports = [stack.enter_context(tempfile.TemporaryFile()) for _ in parts]
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*pytest, "-p", "no:cacheprovider", *arguments, *_paths(part)],
                    cwd=ROOT,
                    stdout=report,
                    stderr=subprocess.STDOUT,
                )
            )
            for part, report in zip(parts, reports, strict=True)
        ]
        codes = [subprocess.run([*pytest, *arguments, *_paths(first)], check=False, cwd=ROOT).returncode]
        for part, report, process in zip(parts, reports, processes, strict=True):
            print(f"\nAnd {' '.join(_paths(part))}, which ran at the same time:\n", flush=True)
            codes.append(process.wait())
            report.seek(0)
            sys.stdout.buffer.write(report.read())
            sys.stdout.flush()
    return next((code for code in codes if code), 0)


def _paths(part: tuple[str, ...]) -> list[str]:
    return [f"tests/{name}" for name in part]


def _has_tests(path: Path) -> bool:
    """The real clients of `tests/conformance` have a command of their own."""
    return path.is_dir() and path.name != "conformance" and any(path.rglob("test_*.py"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

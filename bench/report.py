"""`make bench`: runs every part of parts.toml and writes one report of them.

    python -m bench.report [--quick] [--only gateways ledger] [--render]

Writes report.json, report.md and plots (plots/*.svg) beside this file. What was not run this time stays as it was in
report.json. `--render` runs nothing.
"""

import argparse
import datetime as dt
import html
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.measuring import Disturbance, machine

HERE = Path(__file__).parent
PLAN: dict[str, Any] = tomllib.loads((HERE / "parts.toml").read_text())
DISTURBANCE_MAX = 0.05
HEAD = """# What was measured

`make bench` writes this page. Each ratio is of two figures from one run; absolute figures are those of one machine on one day.
What each part measures and how to read it: [README](README.md).
"""


def run_part(part: Mapping[str, Any], *, quick: bool) -> dict[str, Any]:
    """Runs it in a process of its own, whose output is the progress."""
    print(f"== {part['title']}", flush=True)
    disturbance = Disturbance()
    began = dt.datetime.now(dt.UTC)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, "-m", part["module"], "--json", str(file)]
        command += part.get("arguments", []) + (part["quick"] if quick else [])
        status = subprocess.run(command, cwd=HERE.parent, check=False).returncode
        figures = json.loads(file.read_text()) if file.exists() else {}
    if not figures:
        figures = {"failures": {part["name"]: f"`{' '.join(command[1:3])}` ended with status {status}"}}
    about = {"when": began.strftime("%Y-%m-%d %H:%M UTC"), "quick": quick, "others": disturbance.share, "machine": machine()}
    return {**about, "figures": figures}


def find(figures: Any, path: Sequence[str]) -> Any:
    """What stands at a path; None where there is nothing."""
    for step in path:
        figures = figures.get(step) if isinstance(figures, dict) else None
    return figures


def rendered(report: Mapping[str, Any], plan: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """(the page, its plots by file name)."""
    plots: dict[str, str] = {}
    lines = [HEAD, "## Goals", "", *_goal_lines(report, plan["goals"], plan["reasons"]), ""]
    for part in plan["parts"]:
        lines += [f"## {part['title']}", "", part["about"].strip(), ""]
        if part["name"] not in report:
            lines += ["Not measured.", ""]
            continue
        found = report[part["name"]]
        lines += [_circumstances(found), ""]
        for name, why in found["figures"].get("failures", {}).items():
            lines += [f"**Not measured in full: {name}**", "", "```", why.strip(), "```", ""]
        for number, chart in enumerate(part.get("charts", [])):
            rows = find(found["figures"], chart["path"]) or {}
            bars = {name: row[chart["column"]] for name, row in rows.items() if chart["column"] in row}
            if bars:
                file = f"plots/{part['name']}-{number + 1}.svg"
                plots[file] = plot(chart["title"], bars)
                lines += [f"![{chart['title']}]({file})", ""]
        for table in part["tables"]:
            if rows := find(found["figures"], table["path"]):
                lines += [f"### {table['title']}", "", *_table(rows), ""]
    return "\n".join(lines).rstrip() + "\n", plots


def _circumstances(found: Mapping[str, Any]) -> str:
    told = [f"Measured {found['when']}" + (" (`--quick`: too short to judge by)" if found["quick"] else "")]
    told += [f"{name}: {value}" for name, value in found["machine"].items()]
    busy = f"other processes used {found['others']:.0%} of the machine"
    told.append(busy if found["others"] <= DISTURBANCE_MAX else f"**{busy}: a noisy run, judge by processor time**")
    return "; ".join(told) + "."


def _goal_lines(report: Mapping[str, Any], goals: Sequence[Mapping[str, Any]], reasons: Mapping[str, str]) -> list[str]:
    lines, missed = ["| what | goal | measured | |", "|---|---|---|---|"], []
    for goal in goals:
        figure = find(report.get(goal["part"], {}).get("figures"), goal["figure"])
        for sign, bounds in (("≥", goal.get("at_least", [])), ("≤", goal.get("at_most", []))):
            for bound in bounds:
                if figure is None:
                    told, verdict = "-", "not measured"
                else:
                    told = number(figure)
                    verdict = "met" if (figure >= bound if sign == "≥" else figure <= bound) else "**not met**"
                    if verdict != "met":
                        missed.append(f"- {goal['text']}: {' '.join(reasons[goal['why']].split())}")
                lines.append(f"| {goal['text']} | {sign} {bound:g} | {told} | {verdict} |")
    return [*lines, "", "Why those are not met:", "", *dict.fromkeys(missed)] if missed else lines


def _table(rows: Mapping[str, Any]) -> list[str]:
    """One line a row; a single row of plain figures is a table too."""
    if not all(isinstance(row, dict) for row in rows.values()):
        rows = {"": rows}
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [[name, *(cell(row.get(column)) for column in columns)] for name, row in rows.items()]
    head = ["", *(column.replace("_", " ") for column in columns)]
    rule = ["---", *("---" if any(isinstance(row.get(column), str) for row in rows.values()) else "---:" for column in columns)]
    return [f"| {' | '.join(line)} |" for line in (head, rule, *cells)]


def cell(value: Any) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, int | float) else str(value).replace("|", "\\|")


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def plot(title: str, bars: Mapping[str, float]) -> str:
    """Bars as SVG, longest first. Its greys are readable on white and on black."""
    label, width, step = 190, 430, 24
    longest = max(bars.values()) or 1
    drawn = []
    for place, (name, value) in enumerate(sorted(bars.items(), key=lambda bar: -bar[1])):
        y = 34 + place * step
        colour = "#2f7d6d" if name.startswith("tollway") else "#8a8f98"
        length = max(1, round(width * value / longest))
        drawn += [
            f'<text x="{label - 8}" y="{y + 13}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{label}" y="{y}" width="{length}" height="{step - 6}" rx="2" fill="{colour}"/>',
            f'<text x="{label + length + 6}" y="{y + 13}">{number(value)}</text>',
        ]
    height = 40 + len(bars) * step
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {label + width + 90} {height}" width="{label + width + 90}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="13" fill="#7a7f87" role="img">',
        f"<title>{html.escape(title)}</title>",
        f'<text x="8" y="18" font-weight="600">{html.escape(title)}</text>',
        *drawn,
        "</svg>",
        "",
    ])  # fmt: skip


def main() -> None:
    names = [part["name"] for part in PLAN["parts"]]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short run of each part, which shows that all works")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--render", action="store_true", help="only write the page of what report.json has")
    options = parser.parse_args()
    data = HERE / "report.json"
    report = json.loads(data.read_text()) if data.exists() else {}
    if not options.render:
        for part in PLAN["parts"]:
            if part["name"] in options.only:
                report[part["name"]] = run_part(part, quick=options.quick)
                data.write_text(json.dumps(report, indent=2) + "\n")
    page, plots = rendered(report, PLAN)
    (HERE / "plots").mkdir(exist_ok=True)
    for old in (HERE / "plots").glob("*.svg"):
        old.unlink()
    for file, text in plots.items():
        (HERE / file).write_text(text)
    (HERE / "report.md").write_text(page)
    print(page[: page.index("\n## ", page.index("## Goals") + 1)])
    failed = {name: part["figures"]["failures"] for name, part in report.items() if part["figures"].get("failures")}
    if failed:
        sys.exit(f"not all was measured: {json.dumps(failed, indent=2)}")


if __name__ == "__main__":
    main()

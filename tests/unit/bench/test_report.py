import importlib.util
import xml.etree.ElementTree as ET

from bench.gateways import DIRECT, ONE_WORKER, TWO_WORKERS, compared, medians
from bench.report import PLAN, cell, number, plot, rendered
from bench.services import GATEWAYS

PART = {
    "when": "2026-11-23 09:30 UTC",
    "quick": False,
    "others": 0.02,
    "machine": {"processor": "Some EPYC, x86_64", "cores": "2"},
}
RESULTS = {
    "c1": {DIRECT: {"p50_ms": 0.05}, "tollway": {"p50_ms": 0.95}, "nginx": {"p50_ms": 0.15}},
    "c16": {
        DIRECT: {"requests_per_second": 20000.0, "p50_ms": 0.5},
        "tollway": {"requests_per_second": 2000.0, "p50_ms": 7.5, "cpu_us_per_request": 500.0},
        "vllm-router": {"requests_per_second": 8000.0, "p50_ms": 2.0, "cpu_us_per_request": 125.0},
        "portkey": {"requests_per_second": 500.0, "p50_ms": 30.0, "cpu_us_per_request": 2000.0},
    },
    "workers": {
        ONE_WORKER: {"requests_per_second": 2000.0, "cpu_us_per_request": 500.0},
        TWO_WORKERS: {"requests_per_second": 3000.0, "cpu_us_per_request": 550.0},
    },
}


def test_gateways_are_compared_with_tollway_and_with_none() -> None:
    found = compared(RESULTS)

    assert found["ratios"]["vllm-router"] == {"requests_per_second": 0.25, "requests_per_processor_second": 0.25}
    assert found["ratios"]["portkey"]["requests_per_second"] == 4
    assert set(found["ratios"]) == {"vllm-router", "portkey"}
    assert round(found["added"]["tollway"]["added_p50_ms_c1"], 9) == 0.9
    assert found["added"]["vllm-router"] == {"added_p50_ms_c16": 1.5}
    assert found["scaling"]["2 workers / 1 worker"]["requests_per_second"] == 1.5


def test_a_figure_is_the_median_of_the_rounds_that_have_it_and_errors_add_up() -> None:
    samples = [{"start_seconds": 3.0, "errors": 1}, {"start_seconds": 1.0, "mib": 5.0, "errors": 2}, {"start_seconds": 9.0}]

    assert medians(samples) == {"start_seconds": 3.0, "errors": 3, "mib": 5.0}


def test_what_was_not_measured_has_no_ratio() -> None:
    assert compared({}) == {}
    assert compared({"c16": {"vllm-router": {"requests_per_second": 8000.0, "p50_ms": 1.0}}}) == {}


def test_the_report_says_which_goals_are_met() -> None:
    report = {"gateways": {**PART, "figures": {"about": {}, "results": RESULTS | compared(RESULTS), "failures": {}}}}

    page, plots = rendered(report, PLAN)

    assert "billing on, against vllm-router | ≥ 0.35 | 0.25 | **not met** |" in page
    assert "billing on, against Portkey | ≥ 4 | 4 | met |" in page
    assert "billing on, against LiteLLM | ≥ 30 | - | not measured |" in page
    assert "| milliseconds added at p50, c=1 | ≤ 1 | 0.90 | met |" in page
    assert "| milliseconds added at p50, c=1 | ≤ 0.8 | 0.90 | **not met** |" in page
    assert page.count("- milliseconds added at p50, c=1: the hold and") == 1
    assert "against Portkey: " not in page
    assert "Some EPYC" in page
    assert "other processes used 2% of the machine." in page
    assert "| vllm-router | 8,000 | 2 | 125 |" in page
    assert page.count("Not measured.") == len(PLAN["parts"]) - 1
    assert set(plots) == {"plots/gateways-1.svg", "plots/gateways-2.svg"}
    assert all(file in page for file in plots)


def test_a_noisy_run_and_what_failed_are_told_loudly() -> None:
    figures = {"about": {}, "results": {}, "failures": {"litellm": "not installed: it needs a Rust compiler"}}

    page, plots = rendered({"gateways": {**PART, "others": 0.4, "quick": True, "figures": figures}}, PLAN)

    assert "**other processes used 40% of the machine: a noisy run, judge by processor time**" in page
    assert "too short to judge by" in page
    assert "**Not measured in full: litellm**" in page
    assert "not installed: it needs a Rust compiler" in page
    assert plots == {}


def test_plots_are_drawings_with_the_longest_bar_first() -> None:
    drawing = ET.fromstring(plot("a < b & c", {"nginx": 10.0, "tollway": 40.0, "none": 0.0}))

    bars = [float(bar.get("width", 0)) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")]
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert bars == sorted(bars, reverse=True)
    assert abs(bars[1] * 4 - bars[0]) <= 4
    assert texts == ["a < b & c", "tollway", "40", "nginx", "10", "none", "0"]


def test_numbers_are_as_long_as_they_mean_something() -> None:
    assert [number(value) for value in (29277.4, 100.4, 14.26, 3.14159, 0.2512, 0.0123)] == [
        "29,277",
        "100",
        "14.3",
        "3.14",
        "0.25",
        "0.012",
    ]
    assert [cell(value) for value in (None, "a|b", 2)] == ["-", "a\\|b", "2"]


def test_the_plan_is_about_parts_and_gateways_that_exist() -> None:
    names = {part["name"] for part in PLAN["parts"]}
    ratios = {goal["figure"][2] for goal in PLAN["goals"] if goal["figure"][:2] == ["results", "ratios"]}

    assert {goal["part"] for goal in PLAN["goals"]} <= names
    assert {goal["why"] for goal in PLAN["goals"]} == set(PLAN["reasons"])
    assert ratios <= {gateway.name for gateway in GATEWAYS}
    assert all(importlib.util.find_spec(part["module"]) for part in PLAN["parts"])

"""The benchmark runs, its contenders agree with the generator, and scripts can read it. Nothing is measured here."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    import bench.lake.generate as module

    yield module


@pytest.fixture
def bench_modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    return lambda name: importlib.import_module(f"bench.{name}")


def test_all_that_benchmarks_run_as_processes_can_be_imported(bench_modules: Callable[[str], Any]) -> None:
    folder = ROOT / "tests/bench"
    files = [x.relative_to(folder).with_suffix("") for x in folder.rglob("*.py") if "workspace" not in x.parts]
    names = [
        ".".join(x.parts) for x in files if not x.name.startswith("test_") and x.name != "flink_job"
    ]  # run by Flink's own Python
    assert {"lake.contend", "latency.lane", "push.clients"} <= set(names)
    for name in names:
        bench_modules(name)


def test_any_part_of_the_events_is_the_same_part(generate: Any) -> None:
    whole = list(generate.events(99_000, 101_500))
    assert [*generate.events(99_000, 100_250), *generate.events(100_250, 101_500)] == whole
    assert [event.timestamp_ms for event in whole] == sorted(event.timestamp_ms for event in whole)


def test_what_is_expected_is_what_the_bytes_say(generate: Any) -> None:
    """Count again, one event after the other, as a person would."""
    stop = 109_000  # behind the first chunk; all kinds of bad records
    gold: dict[tuple[str, int], tuple[int, int]] = {}
    bad, seen, sizes = 0, set(), []
    for event in generate.events(0, stop):
        sizes.append(len(event.value))
        try:
            row = json.loads(event.value)
            good = (
                row["kind"] in generate.KINDS
                and row["country"] in generate.COUNTRIES
                and row["page"].startswith("/")
                and row["amount"] >= 0
                and isinstance(row["quantity"], int)
                and row["user"]
                and row["id"].encode() == event.key
            )
        except (ValueError, KeyError):
            good = False
        if not good:
            bad += 1
        elif row["id"] not in seen:
            seen.add(row["id"])
            minute = generate.FIRST_MS + int(row["id"][1:]) // 60_000 * 60_000
            n, amount = gold.get((row["country"], minute), (0, 0))
            gold[row["country"], minute] = n + 1, amount + row["amount"]
    expected = generate.expected(stop)
    assert (expected.read, expected.silver, expected.dead_letters) == (stop, len(seen), bad)
    assert expected.gold == gold
    assert bad == stop // 1000
    assert len(seen) == stop - 2 * (stop // 1000)
    assert 120 <= sum(sizes) / len(sizes) <= 250


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pond",), "No benchmark pond; there are: lake, latency, push, query, seal, steady."),
        (("lake", "--only", "d"), "No contender d; there are: tidemill, plain_spark, tuned_spark, python_deltars."),
        (("push", "--only", "d"), "No contender d; there are: push, panel."),
        (("query", "--only", "d"), "No part d; there are: hot, gold, tpch."),
    ],
)
def test_names_that_are_not_there_are_answered_with_those_that_are(arguments: tuple[str, ...], sentence: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().endswith(sentence)


def test_outside_a_checkout_the_sentence_says_where_benchmarks_are(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").write_text("")
    done = bench("lake", workspace=tmp_path)
    assert done.returncode == 1
    assert "come with the source checkout" in done.stderr


@pytest.mark.integration
@pytest.mark.timeout(1200)
def test_one_object_on_standard_output() -> None:
    # The two PySpark contenders take minutes for any number of events: their 200 state partitions lie on the object store.
    done = bench("lake", "--events", "2000", "--only", "tidemill,python_deltars", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report.keys() == {"name", "machine", "figures", "ratios"}
    assert report["name"] == "lake"
    assert report["machine"]["cores"] == os.cpu_count()
    assert {
        "tidemill_events_per_s",
        "python_deltars_events_per_s",
        "tidemill_peak_memory_mib",
        "small_commit_p50_ms",
    } <= report["figures"].keys()
    assert report["ratios"].keys() == {"to_python_deltars"}
    assert all(isinstance(value, float) and value > 0 for value in (report["figures"] | report["ratios"]).values())
    ours, theirs = (report["figures"][f"{name}_events_per_s"] for name in ("tidemill", "python_deltars"))
    assert report["ratios"]["to_python_deltars"] == pytest.approx(ours / theirs, rel=0.02)


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_values_are_sealed() -> None:
    done = bench("seal", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"seal_rows_per_s", "token_rows_per_s", "aes_encrypt_rows_per_s", "new_keys_per_s"} <= report["figures"].keys()
    assert report["ratios"].keys() == {"aes_encrypt_to_seal"}


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_a_steady_load_is_followed_to_its_end() -> None:
    done = bench("steady", "--events", "1000", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert all(figures[f"{layer}_most_live_files"] >= 1 for layer in ("bronze", "silver", "gold"))
    assert figures["bronze_commits"] >= 2


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_rows_are_pushed_and_polled_up_two_short_ladders(bench_modules: Callable[[str], Any]) -> None:
    push, table = bench_modules("push.run"), bench_modules("push.report").table
    with bench_modules("store").servers(ROOT / "tests/bench/push/workspace", lambda _: None) as workspace:
        found = push.report(workspace, {"push": push.Ladder(10, 20), "panel": push.Ladder(2, 4)}, 2.0, 0.0, lambda _: None)
    points = {(x["contender"], x["clients"]): x for x in found["points"]}
    assert {("push", 10), ("panel", 2)} <= points.keys()
    filters = [bench_modules("push.rows").shards(client) for client in range(10)]
    share = sum(end - first for first, end in filters) / 100
    assert points["push", 10]["rows"] == pytest.approx(share * 1_000 * 2, rel=0.5)
    assert all(x["rows"] > 0 and x["p50_ms"] <= x["p95_ms"] <= x["p99_ms"] and x["lost"] == 0 for x in found["points"])
    assert {"update_age_p95_ms_at_10", "mib_per_client", "knee_clients", "panel_knee_clients"} <= found["figures"].keys()
    assert table(found) is not None


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_the_gateway_is_asked_for_hot_rows_by_dashboards_and_for_tpch() -> None:
    done = bench("query", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report.keys() == {"name", "machine", "figures", "ratios"}
    figures, ratios = report["figures"], report["ratios"]
    assert {"hot_p95_ms", "gold_p95_ms_at_1000_users", "tpch_sf1_slowest_s"} <= figures.keys()
    assert figures["errors"] == 0
    assert figures["tpch_wrong_answers"] == 0
    assert ratios.keys() == {"governed_to_raw", "to_spark_sql"}
    assert all(value > 0 for value in ratios.values())


def test_answers_are_the_same_but_for_last_digits_and_ties(bench_modules: Callable[[str], Any]) -> None:
    same = bench_modules("query.tpch").same
    assert same([["a", 1.0], ["b", 2]], [["b", 2], ["a", 1.0 + 1e-12]])
    assert not same([["a", 1.0]], [["a", 1.001]])
    assert not same([["a", 1.0]], [["a", None]])
    assert not same([["a"]], [["a"], ["a"]])
    assert not same([["a"]], [["b"]])


def test_what_the_auditor_sees_is_said_twice_and_is_the_same(bench_modules: Callable[[str], Any], tmp_path: Path) -> None:
    """The policy hides what the SQL leaves out, which contenders are given and answers are compared with."""
    import duckdb

    from lakehouse.security.policy import Policy
    from lakehouse.security.users import User
    from lakehouse.serving.governed import govern
    from lakehouse.serving.query import answer

    tpch = bench_modules("query.tpch")
    held = importlib.import_module("bench.query.tpch").pa
    customers = held.table(
        {
            "c_custkey": [1, 2, 3],
            "c_name": ["Customer#000000001", "Customer#000000002", "Customer#000000003"],
            "c_address": ["here", "there", "nowhere"],
            "c_nationkey": [5, 24, 19],
            "c_phone": ["15-768-687-3665", "34-111-222-3333", "29-999-888-7777"],
        }
    )
    write = importlib.import_module("deltalake").write_deltalake
    write(tmp_path / "customer", customers)
    tables = importlib.import_module("lakehouse.serving.tables")
    user = User("auditor", "auditors", ("auditor",), {"nations": tuple(range(bench_modules("query.people").NATIONS))})
    views = Policy((ROOT / "tests/bench/query/workspace/policy.yml").read_text()).visible(user, ["reference.customer"])
    opening = govern(tables.lake(lambda _: tables.Location(str(tmp_path / "customer"))), views, b"m" * 32)
    ours = answer("FROM reference.customer ORDER BY c_custkey", list(views), opening).rows()
    with duckdb.connect() as connection:
        connection.register("customer", customers)
        values, where = tpch.values("customer", customers.column_names), tpch.where("customer")
        assert ours == connection.execute(f"SELECT {values} FROM customer WHERE {where} ORDER BY 1").fetchall()
    assert [row[0] for row in ours] == [1, 3]
    assert ours[0][1:] == ("*" * 14 + "0001", None, 5, "15***********65")


def test_ages_are_counted_within_a_percent(bench_modules: Callable[[str], Any]) -> None:
    ages = bench_modules("push.ages").Ages()
    ages.add([1_000] * 94 + [2_000_000] * 6)
    ages.add([])
    assert ages.percentile_ms(50) == pytest.approx(1, rel=0.01)
    assert ages.percentile_ms(95) == pytest.approx(2_000, rel=0.01)
    assert (ages + ages).rows == 200
    assert bench_modules("push.ages").Ages().percentile_ms(95) == 0


def test_the_knee_is_found_by_doubling_and_halving(bench_modules: Callable[[str], Any]) -> None:
    run = bench_modules("push.run")
    nothing = {field.name: 0 for field in fields(run.Point)} | {"offered_per_s": run.PER_SECOND}

    def at(clients: int) -> Any:
        return run.Point(**nothing | {"clients": clients, "rows": 1, "p95_ms": clients / 2})

    assert [x.clients for x in run.climb(run.Ladder(500, 9_000), at)] == [500, 1_000, 2_000, 1_500, 1_750]
    assert [x.clients for x in run.climb(run.Ladder(500, 1_500), at)] == [500, 1_000]
    assert [x.clients for x in run.climb(run.Ladder(4_000, 9_000), at)] == [4_000, 2_000, 1_000]


def test_an_equal_number_of_clients_wants_each_share(bench_modules: Callable[[str], Any]) -> None:
    rows = bench_modules("push.rows")
    wanted = [rows.shards(client) for client in range(4_000)]
    shares = Counter(end - first for first, end in wanted)
    assert shares.keys() == set(rows.SHARES)
    assert all(800 < count < 1_200 for count in shares.values())
    passing = [json.loads(rows.live_row(number, 0))["shard"] for number in range(4_000)]
    assert sum(10 <= shard < 20 for shard in passing) == pytest.approx(400, rel=0.2)


def bench(*arguments: str, workspace: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TIDEMILL_WORKSPACE": str(workspace)}
    return subprocess.run(
        [sys.executable, "-m", "jobs", "bench", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )

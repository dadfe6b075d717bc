"""``tidemill bench seal``: what it costs to seal a value, beside Spark's own cipher, which has one key for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakehouse.catalog import Catalog
from lakehouse.control import Control
from lakehouse.errors import UnknownNameError
from lakehouse.lanes.protect import Protector
from lakehouse.session import build_session
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

from .. import machine
from ..store import servers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROWS, QUICK_ROWS = 1_000_000, 20_000
PERSONS = 20  # a row for each so many has a new person
_TEMPLATE = Path(__file__).parent / "workspace"
_WARM_ROUNDS = 2

Say = Callable[[str], None]


def run(
    *,
    count: int | None = None,
    only: Sequence[str] = (),
    rounds: int = 1,
    memory: bool = False,
    quick: bool = False,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Run the benchmark.

    Args:
        count: How many rows.
        only: Not used here: the contenders are steps of one program.
        rounds: How often each is measured, after two rounds that are not; figures are medians.
        memory: Not used here.
        quick: Take few rows where ``count`` says nothing.
        say: Told what is being done.

    Returns:
        ``name``, ``machine``, ``figures``, ``ratios``.

    Raises:
        UnknownNameError: Contenders were named.
    """
    if only:
        raise UnknownNameError("This benchmark has no contenders to choose from.")
    count = count or (QUICK_ROWS if quick else ROWS)
    with servers(_TEMPLATE, say) as workspace:
        settings = Settings.load(workspace)
        spark = build_session(settings, "tidemill bench seal", scratch=workspace.state / "spark")
        with closing(Control(settings.require("postgres"))) as control:
            try:
                figures = _measure(workspace, settings, control, spark, count, rounds, say)
            finally:
                spark.stop()
    ratios = {"aes_encrypt_to_seal": round(figures["aes_encrypt_rows_per_s"] / figures["seal_rows_per_s"], 2)}
    return {"name": "seal", "machine": machine.describe(), "figures": figures, "ratios": ratios, "rows": count}


def _measure(
    workspace: Workspace, settings: Settings, control: Control, spark: SparkSession, count: int, rounds: int, say: Say
) -> dict[str, float]:
    protection = Protector(workspace, settings, spark, control).of(Catalog.load(workspace).ingest("persons"))
    assert protection is not None
    person = F.format_string("person%d@example.org", F.col("id") % (count // PERSONS))
    rows = spark.range(0, count, 1, 2).select(
        person.alias("email"),
        F.lit("UA").alias("carrier"),
        F.format_string("Ada %d", "id").alias("name"),  # one name for all would be enciphered once
    )
    began = time.perf_counter()
    _go(rows.select(protection.key_of("carrier", "email")))
    figures = {"new_keys_per_s": round(count // PERSONS / (time.perf_counter() - began), 1)}
    steps = {
        "seal": rows.select(protection.sealed("name", "carrier", "email")),
        "token": rows.select(protection.token("email", "carrier", "email")),
        "aes_encrypt": rows.select("email", F.base64(F.aes_encrypt(F.col("name").cast("binary"), F.lit(b"0123456789abcdef")))),
        "rows_alone": rows,
    }
    for name, frame in steps.items():
        say(f"{name}: {count:,} rows")
        times = [_go(frame) for _ in range(_WARM_ROUNDS + rounds)][_WARM_ROUNDS:]
        figures[f"{name}_rows_per_s"] = round(count / median(times), 1)
    return figures


def _go(frame: DataFrame) -> float:
    began = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - began

"""Great Expectations itself, over rows that have landed: results as rows, and Data Docs as pages."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel

from lakehouse.quality.datadocs import open_context, publish
from lakehouse.quality.results import ResultRow
from lakehouse.quality.suites import LoadedSuite, Rule, import_gx

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PARTIAL = 5  # values kept of those that broke a rule
_PARTIAL_LENGTH = 2_000  # and characters of their JSON
_GX_STATE = Lock()  # GX keeps the current context in a global


@dataclass(frozen=True)
class ValidationResult:
    """One validation.

    Attributes:
        success: Whether all expectations held, ``warn`` ones too.
        rows: One for each rule, in the order of the suite; see :func:`lakehouse.quality.append_results`.
        docs: ``index.html`` of the Data Docs.
    """

    success: bool
    rows: tuple[ResultRow, ...]
    docs: Path

    @property
    def failed(self) -> tuple[ResultRow, ...]:
        """The rows of the expectations that did not hold."""
        return tuple(row for row in self.rows if not row.success)


def validate(
    df: DataFrame,
    suite: LoadedSuite,
    context_root: Path,
    *,
    table: str,
    from_version: int,
    to_version: int,
    pii: Set[str] = frozenset(),
) -> ValidationResult:
    """Run a suite with Great Expectations, and rebuild the Data Docs.

    Args:
        df: The rows that landed between the two versions. Kept in memory (or on local disk) meanwhile.
        suite: The suite.
        context_root: Folder that gets ``gx/``, Great Expectations' file context: ``<workspace>/.tidemill``.
        table: ``layer.name``, as results and pages name it.
        from_version: First Delta version of the rows.
        to_version: Last one.
        pii: Columns with personal data: no value of theirs is kept, in rows or pages.

    Returns:
        The results. An expectation that could not be answered has failed, with ``error`` saying why.
    """
    import_gx()
    run_at = datetime.now(UTC)
    cached = df.storageLevel.useMemory or df.storageLevel.useDisk
    if not cached:
        df = df.persist(StorageLevel.MEMORY_AND_DISK)  # GX reads the rows several times
    try:
        with _GX_STATE:
            answer, docs = _run(df, suite, context_root, table, run_at, pii, (from_version, to_version))
    finally:
        if not cached:
            df.unpersist()
    found = {result.expectation_config.meta["rule"]: result for result in answer.results}
    rows = tuple(
        _row(rule, found[rule.id], run_at, table, suite, from_version, to_version, private(rule, pii)) for rule in suite.rules
    )
    return ValidationResult(all(row.success for row in rows), rows, docs)


def private(rule: Rule, pii: Set[str]) -> bool:
    """Whether what a rule saw may hold personal data; without columns of its own, a rule may look at any."""
    roots = {column.split(".")[0] for column in rule.columns} | set(rule.columns)
    whole_table = rule.type.startswith("expect_table_")
    return bool(pii & roots) or (bool(pii) and not roots and not whole_table)


def _run(
    df: DataFrame, suite: LoadedSuite, root: Path, table: str, run_at: datetime, pii: Set[str], versions: tuple[int, int]
) -> tuple[Any, Path]:
    import great_expectations as gx

    context = open_context(root)
    source = context.data_sources.add_or_update_spark("lake", persist=False)  # `df` is persisted, and let go, by us
    asset = source.add_dataframe_asset(table)
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch({"dataframe": df})
    expectations = [rule.expectation.copy(update={"meta": {"rule": rule.id, "action": rule.action}}) for rule in suite.rules]
    asked = gx.ExpectationSuite(suite.name.replace("/", "."), expectations=expectations)
    answer: Any = batch.validate(asked, result_format={"result_format": "BASIC", "partial_unexpected_count": _PARTIAL})
    hidden = {rule.id for rule in suite.rules if private(rule, pii)}
    for result in answer.results:
        _clean(result, result.expectation_config.meta["rule"] in hidden)
    return answer, publish(context, asked, answer, f"{table}@{versions[0]}-{versions[1]}", run_at)


def _clean(result: Any, hide: bool) -> None:
    """Take out of a result what must not be stored: tracebacks, and values of personal data."""
    if error := _error(result):
        error = "withheld: the column holds personal data" if hide else error
        result.exception_info = {"raised_exception": True, "exception_message": error, "exception_traceback": ""}
    if hide:
        counts = ("_count", "_percent", "_percent_total", "_percent_nonmissing")
        result.result = {key: value for key, value in result.result.items() if key.endswith(counts)}


def _error(result: Any) -> str | None:
    """Return why GX could not answer; it nests the reason by metric when a metric failed."""
    info = result.exception_info or {}
    for found in [info] if "raised_exception" in info else info.values():
        if found.get("raised_exception"):
            return str(found.get("exception_message") or "unknown").strip()
    return None


def _row(
    rule: Rule, result: Any, run_at: datetime, table: str, suite: LoadedSuite, first: int, last: int, hide: bool
) -> ResultRow:
    said = result.to_json_dict()["result"]
    asked = {**result.expectation_config.to_json_dict()["kwargs"]}
    asked.pop("batch_id", None)
    observed = said.get("observed_value")
    return ResultRow(
        run_at=run_at,
        table=table,
        suite=suite.name,
        suite_version=suite.version,
        from_version=first,
        to_version=last,
        expectation=rule.id,
        kwargs_json=json.dumps(asked, sort_keys=True, ensure_ascii=False),
        action=rule.action,
        success=bool(result.success),
        element_count=said.get("element_count"),
        unexpected_count=said.get("unexpected_count"),
        unexpected_percent=said.get("unexpected_percent"),
        partial_unexpected=None if hide else _capped(said.get("partial_unexpected_list")),
        observed_value=None if hide or observed is None else json.dumps(observed, ensure_ascii=False)[:_PARTIAL_LENGTH],
        error=_error(result),
    )


def _capped(values: list[Any] | None) -> str | None:
    """Return as many of the values as fit, as JSON; a long text is cut."""
    if values is None:
        return None
    kept = [v[:200] + "…" if isinstance(v, str) and len(v) > 200 else v for v in values[:_PARTIAL]]
    while len(text := json.dumps(kept, ensure_ascii=False, default=str)) > _PARTIAL_LENGTH:
        kept.pop()
    return text

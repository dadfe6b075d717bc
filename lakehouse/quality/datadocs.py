"""Great Expectations' file context of a workspace, and its Data Docs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

KEPT = 50  # validations whose pages are kept, of each suite


def open_context(root: Path) -> Any:
    """Open the file context in ``root/gx``, made when it is not there; it sends no usage data and draws no bars."""
    import great_expectations as gx

    root.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="file", project_root_dir=root)
    if context.variables.analytics_enabled is not False:
        bars: Any = {"globally": False}
        context.variables.progress_bars = bars
        context.enable_analytics(False)  # saves both
    return context


def publish(context: Any, suite: Any, answer: Any, batch: str, run_at: datetime) -> Path:
    """Keep a suite and its latest results, build their pages and the index, and forget the oldest.

    Args:
        context: From :func:`open_context`.
        suite: GX's ``ExpectationSuite``.
        answer: GX's ``ExpectationSuiteValidationResult``, with nothing in it that must not be stored.
        batch: Names the rows: table and versions.
        run_at: When the validation began.

    Returns:
        The path of ``index.html``.
    """
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    suite_key = ExpectationSuiteIdentifier(name=suite.name)
    run = RunIdentifier(run_time=run_at, run_name=run_at.strftime("%Y%m%dT%H%M%S.%fZ"))
    key = ValidationResultIdentifier(batch_identifier=batch, expectation_suite_identifier=suite_key, run_id=run)
    answer.meta |= {"run_id": run, "validation_time": run_at, "batch_parameters": {"rows": batch}}
    context.suites.add_or_update(suite)
    context.validation_results_store.set(key, answer)
    _forget(context, suite.name)
    context.build_data_docs(resource_identifiers=[key, suite_key])
    (site,) = context.get_docs_sites_urls()
    return Path(unquote(urlparse(site["site_url"]).path))


def _forget(context: Any, suite: str) -> None:
    """Delete the oldest results of a suite; the index builder then deletes their pages."""
    store = context.validation_results_store
    keys = [key for key in store.list_keys() if key.expectation_suite_identifier.name == suite]
    for key in sorted(keys, key=lambda key: key.run_id.run_time)[:-KEPT]:
        store.remove_key(key)

"""Great Expectations' file context of a workspace, and its Data Docs: pages that load nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
from copy import copy
from datetime import datetime
from html import escape
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

KEPT = 50  # validations whose pages are kept, of each suite

_ASSETS = {  # what GX's pages load from public hosts: name beside the pages → file in Panel's wheel
    "css/bootstrap.css": "bootstrap4/css/bootstrap.min.css",
    "css/fontawesome.css": "font-awesome/css/fontawesome.min.css",
    "css/solid.css": "font-awesome/css/solid.min.css",
    "webfonts/fa-solid-900.woff2": "font-awesome/webfonts/fa-solid-900.woff2",
    "js/jquery.js": "jquery/jquery.min.js",
    "js/bootstrap.js": "bootstrap4/js/bootstrap.bundle.min.js",
    "js/vega.js": "vegaplot/vega@*",
    "js/vega-lite.js": "vegaplot/vega-lite@*",
    "js/vega-embed.js": "vegaplot/vega-embed@*",
}
_POLICY = "default-src 'self' file: data: 'unsafe-inline' 'unsafe-eval'"  # Vega compiles its expressions
_CHARSET = '<meta charset="UTF-8">'
_ELSEWHERE = re.compile(r'<link [^>]*href="https?://[^>]*>\s*|<script src="https?://[^>]*></script>\s*')
_LOGO = re.compile(r'src="https?://[^"]*/(logo-long\.png)[^"]*"')
_ICON = re.compile(r'href="[./]*/static/(images/favicon\.ico)"')  # GX counts the folders above a validation wrongly
_DARK = re.compile(r"@media \(prefers-color-scheme: dark\).*?(?=</style>)", re.DOTALL)  # a patch on a theme from elsewhere


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
    asset = {"data_asset_name": batch.partition("@")[0]}
    answer.meta |= {"run_id": run, "validation_time": run_at, "batch_parameters": {"rows": batch}, "batch_spec": asset}
    context.suites.add_or_update(suite)
    context.validation_results_store.set(key, _harmless(answer))
    _forget(context, suite.name)
    context.build_data_docs(resource_identifiers=[key, suite_key])
    (site,) = context.get_docs_sites_urls()
    index = Path(unquote(urlparse(site["site_url"]).path))
    _contain(index.parent)
    return index


def _harmless(answer: Any) -> Any:
    """Copy an answer as its pages need it: they show values of rows as the markup that these may hold."""
    from great_expectations.util import convert_to_json_serializable

    shown = copy(answer)
    shown.results = [copy(result) for result in answer.results]
    for result in shown.results:
        result.success = bool(result.success)  # some expectations answer with NumPy's, which GX cannot store
        result.result = _escaped(convert_to_json_serializable(result.result))
    return shown


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {_escaped(key): _escaped(inner) for key, inner in value.items()}  # a map's keys are data too
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return escape(value, quote=False) if isinstance(value, str) else value


def _contain(site: Path) -> None:
    """Put what the pages load beside them, and have them load that; a policy makes the browser refuse all else."""
    bundled = Path(str(distribution("panel").locate_file("panel/dist/bundled")))
    files = {name: min(bundled.glob(pattern)) for name, pattern in _ASSETS.items()}
    files |= {f"{kind}/datadocs.{kind}": Path(__file__).with_suffix(f".{kind}") for kind in ("css", "js")}
    for name, file in files.items():
        (site / "static" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, site / "static" / name)
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if not _ELSEWHERE.search(text):
            continue
        static = "../" * (len(page.relative_to(site).parts) - 1) + "static"
        *styles, ours = [f'<link rel="stylesheet" href="{static}/{name}">' for name in files if name.startswith("css/")]
        wanted = [name for name in files if name.startswith("js/") and ("vega" not in name or "vegaEmbed(" in text)]
        scripts = [f'<script src="{static}/{name}"></script>' for name in wanted]
        policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        text = _DARK.sub("", _ELSEWHERE.sub("", text))
        text = _LOGO.sub(rf'src="{static}/images/\1"', _ICON.sub(rf'href="{static}/\1"', text))
        text = text.replace(_CHARSET, "\n".join([_CHARSET, policy, *styles, *scripts]), 1).replace("</head>", f"{ours}</head>", 1)
        page.write_text(text, encoding="utf-8")


def _forget(context: Any, suite: str) -> None:
    """Delete the oldest results of a suite; the index builder then deletes their pages."""
    store = context.validation_results_store
    keys = [key for key in store.list_keys() if key.expectation_suite_identifier.name == suite]
    for key in sorted(keys, key=lambda key: key.run_id.run_time)[:-KEPT]:
        store.remove_key(key)

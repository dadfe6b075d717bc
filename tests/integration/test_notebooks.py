"""Each notebook runs from end to end, over tables that hold a few days of real flights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.scaffold import make_workspace
from lakehouse.clients import delta_rs
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").rglob("*.ipynb"))
BUCKET = "notebooks"

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def environment(
    stack: tuple[Workspace, Settings], expected_flights: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What leads a notebook to a workspace whose servers are external and whose bucket holds ten days of January."""
    made = make_workspace(tmp_path_factory.mktemp("notebooks") / "flights", empty=False)
    s3 = stack[1].s3
    assert s3.endpoint_url and s3.access_key and s3.secret_key
    variables = {
        "TIDEMILL_WORKSPACE": str(made.root),
        "TIDEMILL_S3__ENDPOINT_URL": s3.endpoint_url,
        "TIDEMILL_S3__ACCESS_KEY": s3.access_key,
        "TIDEMILL_S3__SECRET_KEY": s3.secret_key.get_secret_value(),
        "TIDEMILL_S3__BUCKET": BUCKET,
    }
    settings = stack[1].model_copy(update={"s3": s3.model_copy(update={"bucket": BUCKET})})
    Objects(settings).ensure_bucket()
    flights = expected_flights.flights((1,), last_day=10)
    departed = flights[flights["departure_delay"].notna()]
    hours = departed.assign(hour=departed["scheduled_departure"].dt.floor("h")).groupby(["carrier", "hour"])["departure_delay"]
    marts = hours.agg(flights="size", departed="size", departure_delay_minutes="sum").reset_index()
    for name, table in (("silver/flights", flights), ("gold/delays_by_carrier_hour", marts)):
        rows = pa.Table.from_pandas(table, preserve_index=False)
        write_deltalake(f"s3://{BUCKET}/{name}", rows, storage_options=delta_rs(settings))
    return {**os.environ, **variables}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_the_notebook_runs(environment: dict[str, str], notebook: Path, tmp_path: Path) -> None:
    target = tmp_path / notebook.name
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR", str(notebook), str(target)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    made = nbformat.read(target, as_version=4)
    outputs = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert "text/html" in kinds
    assert "departures lie in the picture" in "".join(x.text for x in outputs if x.output_type == "stream")


def test_notebooks_are_kept_without_outputs() -> None:
    assert NOTEBOOKS
    for file in NOTEBOOKS:
        cells = nbformat.read(file, as_version=4).cells
        assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")], file

"""The fast lane's work as a Flink SQL job; run by Flink's own Python, with its task as a line of JSON on standard input.

Nothing here runs Python per row: SQL, formats and connector are Java, in one process. Where there was a choice:

- The join with 16 reference rows is a ``CASE``: a lookup compiled into the code. A regular join with inline ``VALUES`` keeps
  every event in state; lookup joins need a database beside; both are slower.
- ``json`` with ``ignore-parse-errors``: one pass of a streaming parser, a value of a wrong type becomes null. A record that cannot
  be parsed is skipped, where the fast lane writes it to the dead letters with its reason.
- The rules are evaluated once for both outputs, and chained with source and sink: no exchange, so no network buffer to wait for.
- At least once, like the fast lane; checkpoints every 30 seconds to the local disk, where the fast lane's are on the object store.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyflink.table import EnvironmentSettings, TableEnvironment

_OPTIONS = {
    "parallelism.default": "2",  # one a partition
    "execution.checkpointing.interval": "30 s",
    "execution.checkpointing.mode": "AT_LEAST_ONCE",
    "execution.checkpointing.storage": "filesystem",
    "execution.buffer-timeout.enabled": "true",
    "execution.buffer-timeout.interval": "0 ms",
    "pipeline.object-reuse": "true",
    "restart-strategy.type": "disable",
    "table.local-time-zone": "UTC",
    "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
}
_COLUMNS = """
    id STRING, sent_us BIGINT, happened_at TIMESTAMP_LTZ(3), kind STRING, country STRING, page STRING, amount INT, quantity INT,
    `user` STRING
"""
_ORIGIN = """`_partition` INT, `_offset` BIGINT, `_timestamp` TIMESTAMP_LTZ(3)"""
_RULES = {
    "id": "id IS NULL",
    "happened_at": "happened_at IS NULL",
    "late": "happened_at < `_timestamp` - INTERVAL '10' MINUTE",
    "future": "happened_at > `_timestamp` + INTERVAL '5' MINUTE",
    "user": "`user` IS NULL",
    "kind": "kind IS NULL OR kind NOT IN ('view', 'cart', 'purchase', 'refund')",
    "country": "country IS NULL OR NOT REGEXP(country, '^[A-Z]{2}$')",
    "page": "page IS NULL OR NOT REGEXP(page, '^/[a-z0-9/-]+$')",
    "amount": "amount IS NULL OR amount < 0 OR amount > 1000000",
    "quantity": "quantity IS NULL OR quantity < 1 OR quantity > 100",
}


def main() -> None:
    """Run until SIGTERM."""
    task = json.loads(sys.stdin.readline())
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for name, value in {**_OPTIONS, "pipeline.jars": task["jar"], "execution.checkpointing.dir": task["checkpoints"]}.items():
        environment.get_config().set(name, value)
    reads = {
        "topic": task["source"],
        "scan.startup.mode": "earliest-offset",
        "json.ignore-parse-errors": "true",
        "json.timestamp-format.standard": "ISO-8601",
        "properties.fetch.max.wait.ms": "5",
        "properties.max.poll.records": "5000",
    }
    writes = {
        "json.timestamp-format.standard": "ISO-8601",
        "sink.delivery-guarantee": "at-least-once",
        "properties.linger.ms": "0",
        "properties.acks": "all",
    }
    keyed = {"key.format": "raw", "key.fields": "id"}
    origin = """
        `_partition` INT METADATA FROM 'partition' VIRTUAL, `_offset` BIGINT METADATA FROM 'offset' VIRTUAL,
        `_timestamp` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
    """
    environment.execute_sql(_table("source", f"{_COLUMNS}, {origin}", task, reads))
    environment.execute_sql(
        _table("live", f"{_COLUMNS}, country_name STRING, {_ORIGIN}", task, {**writes, **keyed, "topic": task["live"]})
    )
    environment.execute_sql(
        _table("dead_letters", f"{_COLUMNS}, reasons STRING, {_ORIGIN}", task, {**writes, "topic": task["dead_letters"]})
    )
    reasons = ", ".join(f"CASE WHEN {rule} THEN '{name}' END" for name, rule in _RULES.items())
    names = " ".join(f"WHEN '{country}' THEN '{name}'" for country, name in task["countries"].items())
    environment.execute_sql(f"CREATE TEMPORARY VIEW judged AS SELECT *, CONCAT_WS(',', {reasons}) AS reasons FROM source")
    columns = "id, sent_us, happened_at, kind, country, page, amount, quantity, `user`"
    both = environment.create_statement_set()
    both.add_insert_sql(
        f"INSERT INTO live SELECT {columns}, CASE country {names} END, `_partition`, `_offset`, `_timestamp` "
        "FROM judged WHERE reasons = ''"
    )
    both.add_insert_sql(
        f"INSERT INTO dead_letters SELECT {columns}, reasons, `_partition`, `_offset`, `_timestamp` FROM judged WHERE reasons <> ''"
    )
    print(both.explain(), file=sys.stderr, flush=True)
    result = both.execute()
    print(json.dumps({"event": "running"}), flush=True)
    result.wait()


def _table(name: str, columns: str, task: dict[str, Any], options: dict[str, str]) -> str:
    every = {"connector": "kafka", "properties.bootstrap.servers": task["servers"], "value.format": "json", **options}
    every = {key.replace("json.", "value.json.", 1) if key.startswith("json.") else key: value for key, value in every.items()}
    words = ", ".join(f"'{key}' = '{value}'" for key, value in every.items())
    return f"CREATE TEMPORARY TABLE {name} ({columns}) WITH ({words})"


if __name__ == "__main__":
    main()

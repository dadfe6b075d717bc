"""Random queries over a table of flights, of the grammar that docs/security.md promises: the same ones for the same seed."""

from __future__ import annotations

import random

SECRET = "XYZZY"
TEXTS, NUMBERS = ("carrier", "tail", "note", "number"), ("id", "delay", "fare")


class Generator:
    """Makes one query a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # no secret

    def query(self) -> str:
        """Return a query: projections, groups, joins, CTEs, set operations, subqueries, windows."""
        first, second = self._text_column(), self._text_column()
        where = f"WHERE {self._predicate()}" if self._random.random() < 0.7 else ""
        over = f"OVER (PARTITION BY {first} ORDER BY id)"
        sets = self._random.choice(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"])
        group = self._random.choice([first, "day", "hour", "delay"])
        joined = "flights f JOIN airlines a USING (carrier)"
        return self._random.choice(
            [
                f"SELECT {self._scalar()} AS a, {self._scalar()} AS b FROM silver.flights {where}",
                f"SELECT {group}, {self._aggregate()}, count(*) FROM flights {where} GROUP BY {group}",
                f"SELECT f.id, a.name, f.{first} FROM {joined} {where}",
                f"WITH c AS (SELECT * FROM flights {where}) SELECT {self._aggregate()} FROM c WHERE {self._predicate()}",
                f"SELECT {first} AS x FROM flights {where} {sets} SELECT {second} FROM flights",
                f"SELECT id FROM flights WHERE {first} IN (SELECT {second} FROM flights {where})",
                f"SELECT DISTINCT {first}, legs[1] % 3 FROM (FROM flights {where})",
                f"SELECT id, sum(id) {over}, lag({second}) {over} FROM flights {where}",
            ]
        )

    def _scalar(self) -> str:
        text, number = self._text_column(), self._random.choice(NUMBERS)
        return self._random.choice(
            [
                text,
                number,
                "day",
                "hour",
                "legs[1]",
                f"length({text})",
                f"upper({text})",
                f"{text} || '!'",
                f"coalesce({text}, 'none')",
                f"TRY_CAST({text} AS INTEGER)",
                f"{number} + 1",
                f"round({number} / 7, 2)",
                f"date_diff('day', hour, {self._moment()})",
                "CAST(day AS VARCHAR)",
                f"CASE WHEN {self._predicate()} THEN {text} END",
            ]
        )

    def _aggregate(self) -> str:
        text, number = self._text_column(), self._random.choice(NUMBERS)
        return self._random.choice(
            [
                "sum(id)",
                "min(hour)",
                "max(day)",
                f"min({number})",
                f"max({number})",
                f"max({text})",
                f"count({text})",
                f"count(DISTINCT {text})",
                f"count(*) FILTER (WHERE {self._predicate()})",
            ]
        )

    def _predicate(self, depth: int = 0) -> str:
        if depth < 2 and self._random.random() < 0.3:
            both = self._random.choice(["AND", "OR"])
            return f"({self._predicate(depth + 1)} {both} {self._predicate(depth + 1)})"
        text, number = self._text_column(), self._random.choice(NUMBERS)
        compared = self._random.choice(["=", "<>", "<", "<=", ">", ">="])
        return self._random.choice(
            [
                f"{number} {compared} {self._random.randrange(-20, 1_600)}",
                f"NOT ({number} {compared} 10)",
                f"{text} {compared} '{self._text()}'",
                f"{text} IS NULL",
                f"{text} IN ('{self._text()}', '{self._text()}')",
                f"{text} LIKE '%{self._random.choice(['N', '1', '*', 'é', 'a'])}%'",
                f"hour {compared} {self._moment()}",
                f"day BETWEEN DATE '2013-01-{self._random.randrange(1, 29):02}' AND DATE '2013-02-10'",
            ]
        )

    def _moment(self) -> str:
        month, day, hour = self._random.randrange(1, 4), self._random.randrange(1, 29), self._random.randrange(24)
        return f"TIMESTAMP '2013-{month:02}-{day:02} {hour:02}:00:00'"

    def _text_column(self) -> str:
        return self._random.choice(TEXTS)

    def _text(self) -> str:
        return self._random.choice(["AA", "UA", "é✈", "N7é", "N12é", "7", "o''neil", "*", "a*", SECRET])

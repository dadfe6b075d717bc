"""The Operations page: how the tables, feeds and servers fare."""

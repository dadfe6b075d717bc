"""Views for notebooks and apps: data in, view out; no Spark and no I/O."""

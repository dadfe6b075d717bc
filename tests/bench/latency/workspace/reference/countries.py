"""Names of countries."""

import pandas as pd

from lakehouse.catalog import reference

_NAMES = {
    "AT": "Austria",
    "BE": "Belgium",
    "CH": "Switzerland",
    "DE": "Germany",
    "DK": "Denmark",
    "ES": "Spain",
    "FI": "Finland",
    "FR": "France",
    "GB": "United Kingdom",
    "IE": "Ireland",
    "IT": "Italy",
    "NL": "Netherlands",
    "NO": "Norway",
    "PL": "Poland",
    "PT": "Portugal",
    "SE": "Sweden",
}


@reference("countries", keys=["country"])
def countries() -> pd.DataFrame:
    """One row a country."""
    return pd.DataFrame({"country": list(_NAMES), "country_name": list(_NAMES.values())})

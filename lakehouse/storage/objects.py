"""The Python side's way to the bucket: small state objects, sizes, and the bucket itself."""

from __future__ import annotations

import json
from typing import Any

import s3fs

from lakehouse.settings import Settings


class Objects:
    """The bucket of a workspace, through s3fs."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.s3.secret_key
        self.bucket = settings.s3.bucket
        self.fs = s3fs.S3FileSystem(
            key=settings.s3.access_key,
            secret=secret.get_secret_value() if secret else None,
            endpoint_url=settings.require("s3"),
            client_kwargs={"region_name": settings.s3.region},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def ensure_bucket(self) -> None:
        """Make the bucket when it is not there."""
        if not self.fs.exists(self.bucket):
            self.fs.mkdir(self.bucket)

    def read_json(self, key: str) -> dict[str, Any] | None:
        """Return a small JSON object, or ``None`` when it is not there."""
        try:
            content: dict[str, Any] = json.loads(self.fs.cat_file(f"{self.bucket}/{key}"))
        except FileNotFoundError:
            return None
        return content

    def write_json(self, key: str, content: dict[str, Any]) -> None:
        """Replace a small JSON object in one PUT."""
        self.fs.pipe_file(f"{self.bucket}/{key}", json.dumps(content, sort_keys=True).encode())

    def exists(self, key: str) -> bool:
        """Say whether anything lies at or below a key."""
        return bool(self.fs.exists(f"{self.bucket}/{key}"))

    def delete(self, key: str) -> None:
        """Delete everything at or below a key."""
        if self.exists(key):
            self.fs.rm(f"{self.bucket}/{key}", recursive=True)

"""The Python side's way to the bucket: small state objects, sizes, and the bucket itself."""

from __future__ import annotations

import json
from typing import Any

import s3fs

from lakehouse.clients import s3fs_options
from lakehouse.settings import Settings


def encrypt_bucket(files: s3fs.S3FileSystem, bucket: str) -> None:
    """Let the store encrypt what is put into a bucket from now on, with a key of its own (SSE-S3)."""
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    files.call_s3("put_bucket_encryption", Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


class Objects:
    """The bucket of a workspace, through s3fs."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3.bucket
        self._encrypt = settings.s3.encrypt
        self.fs = s3fs.S3FileSystem(**s3fs_options(settings), use_listings_cache=False, skip_instance_cache=True)

    def ensure_bucket(self) -> None:
        """Make the bucket when it is not there."""
        if not self.fs.exists(self.bucket):
            self.fs.mkdir(self.bucket)
            if self._encrypt:
                encrypt_bucket(self.fs, self.bucket)

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

"""Tests of one gateway, which runs as long as they do."""

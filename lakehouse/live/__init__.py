"""The reference workspace's live tables: what the fast lane makes of each feed, and the hot store keeps."""

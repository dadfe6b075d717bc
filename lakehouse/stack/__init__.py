"""The embedded servers, one file each, and their supervisor."""

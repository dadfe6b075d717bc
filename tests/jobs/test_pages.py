"""``tidemill pages`` in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path


def test_pages_are_served_until_sigterm(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").write_text('[workspace]\nname = "quiet"\n')
    command = [sys.executable, "-m", "jobs", "--workspace", str(tmp_path), "pages"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert found, said
        with urllib.request.urlopen(found[0] + "live", timeout=30) as page:
            assert "Live" in page.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

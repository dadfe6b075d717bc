from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.pages import load_pages, page_files, titles
from apps.serve import Served, serve
from lakehouse.serving.operations import ServeError, Workspace, docs_folder

PAGE = """
import panel as pn

from .words import GREETING


def page(workspace):
    return pn.pane.Markdown(f"{GREETING} {workspace.name}")
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("pages")
    (root / "tidemill.toml").touch()
    folder = root / "apps" / "delays_by_day"
    folder.mkdir(parents=True)
    (folder / "page.py").write_text(PAGE)
    (folder / "words.py").write_text('GREETING = "Good morning,"\n')
    return Workspace.load(root)


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Iterator[Served]:
    served = serve(workspace)
    yield served
    served.stop()


def get(served: Served, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode() if answer.status != 101 else "", dict(answer.getheaders())
    finally:
        connection.close()


def test_pages_of_tidemill_and_of_the_workspace_are_found_and_the_template_is_not(workspace: Workspace) -> None:
    assert list(page_files(workspace)) == ["delays_by_day", "live", "operations"]
    assert titles(workspace)["delays_by_day"] == "Delays by day"


def test_a_page_of_a_workspace_imports_what_lies_beside_it_and_is_read_anew(workspace: Workspace) -> None:
    words = workspace.root / "apps" / "delays_by_day" / "words.py"
    assert load_pages(workspace)["delays_by_day"](workspace).object == f"Good morning, {workspace.name}"
    words.write_text('GREETING = "Good evening, all of"\n')
    assert load_pages(workspace)["delays_by_day"](workspace).object == f"Good evening, all of {workspace.name}"


def test_the_address_without_a_page_leads_to_operations(served: Served) -> None:
    status, _, headers = get(served, "/")
    assert (status, headers["Location"]) == (302, "/operations")
    assert served.url == f"http://127.0.0.1:{served.port}/operations"


def test_a_page_names_no_other_host(served: Served) -> None:
    status, text, _ = get(served, "/operations")
    assert status == 200
    linked = re.findall(r"""(?:src|href)=["'](?!data:)([^"']+)""", text)
    assert linked
    assert not [link for link in linked if re.match(r"(https?:)?//", link)]


def test_data_docs_are_served_when_they_are_built_and_nothing_above_them(served: Served, workspace: Workspace) -> None:
    assert get(served, "/data-docs/index.html")[0] == 404
    (docs_folder(workspace) / "index.html").write_text("<h1>Data Docs</h1>")
    assert get(served, "/data-docs/index.html")[1] == "<h1>Data Docs</h1>"
    (workspace.state / "stack.json").write_text('{"settings": {}}')
    for path in ("/data-docs/../../../../stack.json", "/data-docs/..%2f..%2f..%2f..%2fstack.json"):
        assert get(served, path)[0] in (403, 404)


@pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), ("http://127.0.0.1:1", 403), (None, 101)])
def test_only_its_own_pages_may_open_a_websocket(served: Served, origin: str | None, status: int) -> None:
    token = re.search(r'"token":\s*"([^"]+)"', get(served, "/operations")[1])
    assert token
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": f"bokeh, {token[1]}",
        "Origin": origin or f"http://127.0.0.1:{served.port}",
    }
    assert get(served, "/operations/ws", **headers)[0] == status


def test_it_listens_on_this_machine_only(served: Served) -> None:
    outside = socket.gethostbyname(socket.gethostname())
    if outside.startswith("127."):
        outside = "127.0.0.2"
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex((outside, served.port)) != 0


def test_a_taken_port_is_a_sentence_that_names_it(workspace: Workspace, served: Served) -> None:
    with pytest.raises(ServeError, match=f"Port {served.port} at 127.0.0.1 cannot be used"):
        serve(workspace, port=served.port)


def test_a_stopped_server_gives_its_port_back(workspace: Workspace) -> None:
    first = serve(workspace)
    first.stop()
    again = serve(workspace, port=first.port)
    assert get(again, "/")[0] == 302
    again.stop()


def test_the_pages_import_the_engine_through_serving_only() -> None:
    for file in Path(__file__).parents[2].glob("apps/**/*.py"):
        for module in re.findall(r"^\s*(?:from|import) (lakehouse[\w.]*)", file.read_text(), re.MULTILINE):
            assert module.startswith("lakehouse.serving"), f"{file} imports {module}"

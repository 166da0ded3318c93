"""The server: what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient  # noqa: E402

from netdef.language.errors import NetdefError  # noqa: E402
from netdef.view.server import ASSETS, application, changes, listening  # noqa: E402
from netdef.view.subjects import FileSubject, FolderSubject, RunSubject, Subject  # noqa: E402

HERE = "http://127.0.0.1:8640"
EVIL = "<img src=x onerror=alert(1)>"


def client(subject: Subject) -> TestClient:
    return TestClient(application(subject), base_url=HERE)


@pytest.fixture
def of_net(net: Path) -> TestClient:
    return client(FileSubject(net))


@pytest.fixture
def of_folder(a_run) -> TestClient:
    a_run("runs/a", width=1)
    return client(FolderSubject(a_run("runs/deep/b c", width=2).parents[1]))


def test_the_page_of_a_net_and_its_scripts(of_net: TestClient):
    shell = of_net.get("/")
    assert shell.status_code == 200 and shell.headers["content-type"].startswith("text/html")
    names = re.findall(r'(?:src|href)="(assets/[^"]+)"', shell.text)
    assert len(names) > 8
    for name in names:
        assert of_net.get(f"/{name}").status_code == 200, name
    assert of_net.get("/page.json").json()["title"] == "Small"


def test_every_answer_has_a_policy(of_net: TestClient):
    for address in ("/", "/page.json", "/assets/dom.js", "/missing"):
        headers = of_net.get(address).headers
        assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8640", "127.0.0.1.evil.example", "0.0.0.0", ""])
def test_other_hosts_are_refused(of_net: TestClient, host: str):
    """A web page of a stranger, whose host name leads to this machine, must not read the answers."""
    for address in ("/", "/page.json", "/events"):
        answer = of_net.get(address, headers={"Host": host})
        assert answer.status_code == 400 and "Small" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:8640"])
def test_this_machine_is_accepted(of_net: TestClient, host: str):
    assert of_net.get("/page.json", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        *("/assets/../server.py", "/assets/..%2fserver.py", "/assets/%2e%2e/server.py", "/assets//etc/passwd"),
        *("/assets/", "/assets/vendor", "/small.net", "/runs/a/page.json", "/judged.json", "/etc/passwd"),
    ],
)
def test_nothing_else_is_served(of_net: TestClient, address: str):
    assert of_net.get(address).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(of_net: TestClient, method: str):
    assert of_net.request(method, "/page.json").status_code == 405


def test_names_are_data_in_json_and_never_part_of_a_page(tmp_path: Path):
    path = tmp_path / "evil.net"
    path.write_text(f'layer {{ name: "{EVIL}" type: "Input" top: "x" input_param {{ shape {{ dim: 2 }} }} }}')
    own = client(FileSubject(path))
    page = own.get("/page.json")
    assert page.headers["content-type"] == "application/json"
    assert page.json()["diagrams"][0]["layers"][0]["name"] == EVIL
    assert EVIL not in own.get("/").text
    scripts = "".join(path.read_text() for path in ASSETS.glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", scripts)


def test_the_module_of_a_python_layer_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spy.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Spy: pass\n")
    (tmp_path / "n.net").write_text(
        'layer { name: "p" type: "Python" top: "x" python_param { module: "spy" layer: "Spy" } }'
    )
    page = client(FileSubject(tmp_path / "n.net")).get("/page.json").json()
    assert page["diagrams"] and not (tmp_path / "ran").exists()


def test_a_missing_file_is_an_error_on_the_page(tmp_path: Path):
    page = client(FileSubject(tmp_path / "gone.net")).get("/page.json").json()
    assert page["diagrams"] == [] and "file not found" in page["error"]


def test_a_folder_and_its_runs(of_folder: TestClient):
    names = {row["name"] for row in of_folder.get("/page.json").json()["runs"]}
    assert names == {"a", "deep/b c"}
    below = "/runs/deep/b%20c"
    assert of_folder.get(f"{below}/page.json").json()["name"] == "b c"
    assert of_folder.get(f"{below}/").text == of_folder.get("/runs/a/").text != of_folder.get("/").text
    assert of_folder.get(f"{below}/assets/dom.js").status_code == 200
    curves = of_folder.get("/curves.json", params={"run": ["a", "missing", "deep/b c"]}).json()
    assert [found["run"] for found in curves] == ["a", "deep/b c"]
    assert of_folder.get("/runs/a/judged.json").json() == {"working": "", "tested": "", "judged": None}


@pytest.mark.parametrize("name", ["missing", "..", "%2e%2e", "deep", "../../etc", "a/.."])
def test_only_runs_of_the_list_are_served(of_folder: TestClient, name: str):
    assert of_folder.get(f"/runs/{name}/page.json").status_code in (404, 200)
    found = of_folder.get(f"/runs/{name}/page.json")
    assert found.status_code == 404 or found.json()["kind"] == "folder"  # the client has removed the dots


def test_a_run(a_run):
    own = client(RunSubject(a_run()))
    assert own.get("/page.json").json()["state"] == "finished"
    assert "confusion.js" in own.get("/").text
    assert "no copy of the net" in own.get("/net.json").json()["error"]
    assert own.post("/judged.json").json()["judged"] is None
    assert own.post("/judged.json", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_an_event_for_each_change(net: Path):
    async def seen() -> list[str]:
        found: list[str] = []
        async for event in changes(FileSubject(net), lambda: len(found) == 3, pause=0.01):
            found.append(event)
            net.write_text(net.read_text() + "\n")
        return found

    events = asyncio.run(seen())
    assert len(set(events)) == 3 and all(re.fullmatch(r"data: [0-9a-f]{16}\n\n", event) for event in events)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_is_taken(taken: int):
    with pytest.raises(NetdefError, match=rf"port {taken} cannot be used: .*; name another one with --port"):
        listening(taken)
    with listening(None) as found:
        assert found.getsockname()[0] == "127.0.0.1"

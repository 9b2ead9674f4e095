"""The HTTP API as programs meet it: shapes, refusals, pages, blobs."""

import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import pwfs_daemon.web
from tests.support.project import Project


@pytest.fixture
def api(project: Project) -> Iterator[httpx.Client]:
    """A client on the Unix socket of a running daemon."""
    project.patchwork("status")
    with project.api() as client:
        yield client


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Checks that a response is a problem document of a code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["code"] == code, document
    return document


def upload(api: httpx.Client, content: bytes) -> str:
    """Stores a content."""
    response = api.post("blobs", content=content)
    assert response.status_code == 201
    return str(response.json()["hash"])


def new_change(api: httpx.Client, title: str) -> str:
    """Creates a change."""
    response = api.post("changes", json={"title": title, "author": "a"})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def write(api: httpx.Client, change: str, path: str, content: bytes, kind: str = "create") -> Any:
    """Appends an operation that writes a file."""
    body = {"change_id": change, "op_type": kind, "path": path, "agent_id": "a"}
    response = api.post("ops", json={**body, "content_hash": upload(api, content)})
    assert response.status_code == 201, response.text
    return response.json()


def test_tcp_needs_the_token_and_the_socket_does_not(project: Project, api: httpx.Client) -> None:
    """Whoever can open the socket is the local user; TCP is anybody."""
    assert api.get("head").json() == {"seq": 0}
    with project.tcp() as anybody:
        response = anybody.get("head")
        refused(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")
        refused(anybody.get("head", headers={"Authorization": "Bearer x"}), 401, "unauthenticated")
        refused(anybody.get("nowhere"), 401, "unauthenticated")
    with project.tcp(project.token()) as known:
        assert known.get("head").json() == {"seq": 0}


def test_the_socket_and_the_token_are_the_owners_only(project: Project, api: httpx.Client) -> None:
    """Other users of the machine can neither connect nor read the secret."""
    place = Path(project.whereabouts["socket"])
    assert place.stat().st_mode & 0o777 == 0o600
    assert (project.state_dir / "token").stat().st_mode & 0o777 == 0o600


def test_browsers_may_ask_from_anywhere_without_ambient_credentials(
    project: Project, api: httpx.Client
) -> None:
    """CORS is open, a preflight needs no token, and cookies are never involved."""
    with project.tcp() as browser:
        preflight = browser.options("changes", headers={"Origin": "https://example.org"})
    assert preflight.status_code < 300
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    assert api.get("nowhere").headers["access-control-allow-origin"] == "*"


def test_what_is_not_there_is_told_as_a_problem(api: httpx.Client) -> None:
    """Unknown addresses, methods and names are documents too."""
    refused(api.get("nowhere"), 404, "no_such_endpoint")
    refused(api.delete("head"), 405, "method_not_allowed")
    refused(api.get("changes/none"), 404, "not_found")
    refused(api.get("ops/99"), 404, "not_found")
    refused(api.get("ops/x"), 400, "invalid_argument")
    refused(api.get("views/none/tree"), 404, "not_found")
    refused(api.get("workspaces/none"), 404, "not_found")
    refused(api.get("queue/items/5"), 404, "not_found")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"title": 3}', b"{}", b'{"title": "x", "titel": "y"}', b"\xff"]
)
def test_a_body_of_another_shape_is_refused(api: httpx.Client, body: bytes) -> None:
    """Neither half of a request nor a misspelt field is taken for something else."""
    refused(api.post("changes", content=body), 400, "invalid_argument")
    assert api.get("changes").json()["changes"] == []


def test_an_operation_has_the_documented_fields(api: httpx.Client) -> None:
    """Programs may rely on the names of the design's third section."""
    change = new_change(api, "Say hello")
    op = write(api, change, "hello.txt", b"hello\n")
    assert op["id"] == 1 and op["op_type"] == "create" and op["path"] == "hello.txt"
    assert {"timestamp", "agent_id", "change_id", "version", "content_hash", "parent_seq"} <= set(
        op
    )
    assert op["metadata"]["size"] == 6
    assert api.get("ops/1").json() == op
    assert api.get("ops", params={"change_id": change}).json()["ops"] == [op]


def test_several_operations_are_appended_or_none(api: httpx.Client) -> None:
    """Each sees those before it; a refusal tells which one it was."""
    change = new_change(api, "Several")
    content = upload(api, b"text\n")
    create = {"op_type": "create", "path": "a", "content_hash": content}
    rename = {"op_type": "rename", "path": "b", "old_path": "a"}
    body = {"change_id": change, "agent_id": "p"}
    response = api.post("ops/batch", json={**body, "ops": [create, rename, create, create]})
    refused(response, 400, "invalid_argument")
    assert response.json()["fields"]["index"] == 3
    assert api.get("head").json() == {"seq": 0}
    response = api.post("ops/batch", json={**body, "ops": [create, rename, create]})
    assert response.status_code == 201, response.text
    made = [(op["id"], op["op_type"], op["path"]) for op in response.json()["ops"]]
    assert made == [(1, "create", "a"), (2, "rename", "b"), (3, "create", "a")]
    assert api.get("ops").json()["ops"] == response.json()["ops"]


@pytest.mark.parametrize("number", [0, 501])
def test_too_many_operations_in_a_request_are_refused(api: httpx.Client, number: int) -> None:
    """Nothing else is done while they are appended."""
    ops = [{"op_type": "delete", "path": "a"}] * number
    body = {"change_id": new_change(api, "Several"), "ops": ops}
    refused(api.post("ops/batch", json=body), 400, "invalid_argument")


def test_lists_come_in_pages(api: httpx.Client) -> None:
    """`next` leads through everything once, in order, and is null at the end."""
    names = [new_change(api, f"Change {number}") for number in range(5)]
    seen: list[str] = []
    after = None
    for _ in range(3):
        params = {"limit": "2"} | ({"after": after} if after else {})
        found = api.get("changes", params=params).json()
        seen += [change["id"] for change in found["changes"]]
        after = found["next"]
    assert seen == names
    assert after is None
    refused(api.get("changes", params={"limit": "0"}), 400, "invalid_argument")
    refused(api.get("changes", params={"status": "sleeping"}), 400, "invalid_argument")


def test_operations_page_in_both_directions(api: httpx.Client) -> None:
    """Newest first goes downwards from page to page."""
    change = new_change(api, "Many")
    for number in range(5):
        write(api, change, f"{number}.txt", b"%d" % number)
    upwards = api.get("ops", params={"limit": 3}).json()
    assert [op["id"] for op in upwards["ops"]] == [1, 2, 3]
    rest = api.get("ops", params={"limit": 3, "after": upwards["next"]}).json()
    assert [op["id"] for op in rest["ops"]] == [4, 5] and rest["next"] is None
    downwards = api.get("ops", params={"limit": 3, "newest_first": "true"}).json()
    assert [op["id"] for op in downwards["ops"]] == [5, 4, 3]
    rest = api.get(
        "ops", params={"limit": 3, "newest_first": "true", "after": downwards["next"]}
    ).json()
    assert [op["id"] for op in rest["ops"]] == [2, 1] and rest["next"] is None


def test_a_blob_comes_back_and_is_cached_by_its_hash(api: httpx.Client) -> None:
    """Content of several chunks survives, and who has it already is not sent it again."""
    content = bytes(range(256)) * 5_000
    name = upload(api, content)
    assert name == hashlib.sha256(content).hexdigest()
    response = api.get(f"blobs/{name}")
    assert response.content == content
    etag = response.headers["etag"]
    again = api.get(f"blobs/{name}", headers={"If-None-Match": etag})
    assert again.status_code == 304 and again.content == b""
    assert int(api.head(f"blobs/{name}").headers["content-length"]) == len(content)
    refused(api.get("blobs/" + "0" * 64), 404, "not_found")
    refused(api.get("blobs/zz"), 400, "invalid_argument")


def test_a_damaged_blob_is_refused_and_mended(project: Project, api: httpx.Client) -> None:
    """500 that names it, before any of it is sent, and a line in the log; uploading mends it."""
    project.expected_log.append("something stored is damaged")
    content = bytes(range(256)) * 5_000
    name = upload(api, content)
    file = project.state_dir / "blobs" / name[:2] / name[2:]
    file.chmod(0o644)
    file.write_bytes(content[:-1] + b"x")
    refused(api.get(f"blobs/{name}"), 500, "blob_damaged")
    assert name in project.log()
    assert upload(api, content) == name
    assert api.get(f"blobs/{name}").content == content


def test_an_empty_blob_is_a_blob(api: httpx.Client) -> None:
    """Nothing is a content as well."""
    name = upload(api, b"")
    assert api.get(f"blobs/{name}").content == b""


def test_a_blob_above_the_limit_is_refused_whole(project: Project, api: httpx.Client) -> None:
    """413, whether the size was announced or not, and nothing of it stays."""
    limit = 100 * 1024 * 1024
    # Hypercorn may still be reading from a connection that is cut off.
    project.expected_log.append("Error in ASGI Framework")

    def pieces() -> Iterator[bytes]:
        for _ in range(limit // (1 << 20) + 1):
            yield bytes(1 << 20)

    with socket.socket(socket.AF_UNIX) as announced:
        announced.connect(project.whereabouts["socket"])
        announced.sendall(
            f"POST /api/blobs HTTP/1.1\r\nHost: x\r\nContent-Length: {limit + 1}\r\n\r\n".encode()
        )
        assert announced.recv(4096).startswith(b"HTTP/1.1 413 ")
    with project.api() as other:
        try:
            refused(other.post("blobs", content=pieces()), 413, "too_large")
        except httpx.WriteError:
            # The daemon may close its side before the last piece is written.
            pass
    assert list(project.state_dir.glob("upload-*")) == []
    assert [path for path in (project.state_dir / "blobs").rglob("*") if path.is_file()] == []


def test_files_are_sent_as_views_show_them(api: httpx.Client) -> None:
    """A landed file is in main, with its type; a path that leads out is refused."""
    change = new_change(api, "Add a page")
    write(api, change, "docs/page one.html", b"<p>hello")
    assert api.post(f"changes/{change}/land", json={"agent_id": "a"}).status_code == 201
    response = api.get("views/main/files/docs/page%20one.html")
    assert response.content == b"<p>hello"
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["x-content-type-options"] == "nosniff"
    for path in ("..%2Fescape", "docs//x", "docs/%2e%2e/x", ".patchwork/token"):
        refused(api.get(f"views/main/files/{path}"), 400, "invalid_path")
    tree = api.get("views/main/tree").json()
    assert [entry["path"] for entry in tree["entries"]] == ["docs/page one.html"]


def test_a_refused_status_changes_nothing(api: httpx.Client) -> None:
    """The life cycle is the only way, through HTTP too."""
    change = new_change(api, "Short life")
    place = f"changes/{change}/status"
    assert api.patch(place, json={"status": "abandoned"}).json()["status"] == "abandoned"
    refused(api.patch(place, json={"status": "ready"}), 409, "illegal_transition")
    refused(api.patch(place, json={"status": "flying"}), 400, "invalid_argument")
    assert api.get(f"changes/{change}").json()["status"] == "abandoned"


def test_metadata_is_merged(api: httpx.Client) -> None:
    """A key that is not named stays, a null removes."""
    change = new_change(api, "Noted")
    place = f"changes/{change}/metadata"
    api.patch(place, json={"metadata": {"a": 1, "b": [2]}})
    shown = api.patch(place, json={"metadata": {"a": None, "c": "x"}}).json()
    assert shown["metadata"] == {"b": [2], "c": "x"}


def test_views_live_and_die_through_the_api(api: httpx.Client) -> None:
    """A view shows main and its overlays, until it is deleted."""
    change = new_change(api, "Overlay me")
    write(api, change, "new.txt", b"new\n")
    view = api.post("views", json={"id": "both", "overlays": [{"change_id": change}]})
    assert view.status_code == 201
    assert api.get("views/both/files/new.txt").content == b"new\n"
    refused(api.post("views", json={"id": "both"}), 409, "already_exists")
    assert [v["id"] for v in api.get("views").json()["views"]] == ["both"]
    assert api.delete("views/both").status_code == 204
    refused(api.get("views/both"), 404, "not_found")


def test_a_conflict_names_its_contents(api: httpx.Client) -> None:
    """What two changes did to one file is told with all three contents."""
    first, second = new_change(api, "First"), new_change(api, "Second")
    write(api, first, "same.txt", b"one\n")
    write(api, second, "same.txt", b"two\n")
    (conflict,) = api.get(f"changes/{second}/conflicts").json()["conflicts"]
    assert conflict["path"] == "same.txt"
    assert (conflict["your_content"], conflict["their_content"]) == ("two\n", "one\n")
    api.post(f"changes/{first}/land", json={})
    document = refused(api.post(f"changes/{second}/land", json={}), 409, "conflict")
    assert document["fields"]["paths"] == ["same.txt"]
    assert document["fields"]["conflicts"][0]["your_content"] == "two\n"


def test_settings_are_checked_one_by_one(api: httpx.Client) -> None:
    """An unknown key or value is refused, and the settings stay."""
    before = api.get("config").json()
    refused(api.put("config/colour", json={"value": "red"}), 400, "invalid_argument")
    refused(api.put("config/retries", json={"value": "-1"}), 400, "invalid_argument")
    assert api.get("config").json() == before
    after = api.put("config/retries", json={"value": 2}).json()
    assert after == before | {"retries": 2}


def test_fsck_finds_a_sound_repository_sound(api: httpx.Client) -> None:
    """Ordinary work leaves nothing to complain about."""
    change = new_change(api, "Sound")
    write(api, change, "a.txt", b"a")
    api.post(f"changes/{change}/land", json={})
    assert api.post("fsck").json()["problems"] == []
    assert [landing["change_id"] for landing in api.get("landings").json()["landings"]] == [change]


SEED = """
    GET /api/status|POST /api/ops|GET /api/ops|GET /api/ops/{seq}|GET /api/head
    |POST /api/changes|GET /api/changes|GET /api/changes/{change_id}
    |PATCH /api/changes/{change_id}/status|PATCH /api/changes/{change_id}/metadata
    |POST /api/changes/{change_id}/versions|POST /api/changes/{change_id}/rebase
    |GET /api/changes/{change_id}/conflicts|POST /api/views|GET /api/views
    |GET /api/views/{view_id}|DELETE /api/views/{view_id}|GET /api/views/{view_id}/tree
    |GET /api/views/{view_id}/files/{path}|POST /api/workspaces|GET /api/workspaces
    |GET /api/workspaces/{workspace_id}|DELETE /api/workspaces/{workspace_id}
    |POST /api/workspaces/{workspace_id}/sync|POST /api/workspaces/{workspace_id}/scan
    |POST /api/queue|GET /api/queue|POST /api/blobs|GET /api/blobs/{blob_hash}|GET /api/events
"""


def test_the_description_has_every_documented_endpoint(api: httpx.Client) -> None:
    """OpenAPI is made of the routes, with the shape of every body that one takes."""
    found = api.get("openapi.json").json()
    described = {
        f"{method.upper()} {path}" for path, each in found["paths"].items() for method in each
    }
    assert {endpoint.strip() for endpoint in SEED.split("|")} <= described
    body = found["paths"]["/api/changes"]["post"]["requestBody"]["content"]["application/json"]
    name = body["schema"]["$ref"].rpartition("/")[2]
    assert found["components"]["schemas"][name]["required"] == ["title"]
    for each in found["paths"].values():
        for operation in each.values():
            assert operation["summary"]


def test_every_route_that_reads_a_body_describes_it() -> None:
    """What a handler decodes is what the description shows."""
    web = Path(pwfs_daemon.web.__file__).parent
    for file in web.glob("*.py"):
        text = file.read_text()
        read = re.findall(r"read_body\((\w+)\)", text)
        noted = re.findall(r"@takes\((\w+)", text)
        if file.name != "answers.py":
            assert set(read) == set(noted) - {"None"}, file.name

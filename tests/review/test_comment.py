"""The comment under a pull request: a single one, updated in place, by the real command against a server of the API."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci/comment.py"
TOKEN = "the-token"


@dataclass
class Forge:
    """The comments of one pull request on the server, and the calls that it received."""

    address: str = ""
    comments: list[dict] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def write(self, body: str, author: dict) -> dict:
        self.comments.append({"id": 100 + len(self.comments), "body": body, **author})
        return self.comments[-1]


GITHUB_BOT = {"user": {"login": "github-actions[bot]"}}
GITLAB_BOT = {"author": {"id": 7}}


class Handler(BaseHTTPRequestHandler):
    """The calls of both APIs that are used, including pagination."""

    def answer(self) -> None:
        forge: Forge = self.server.forge  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        forge.calls.append(f"{self.command} {url.path}")
        token = self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        content = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        if token != TOKEN:
            self.reply(401, {"message": "Unauthorized"})
        elif url.path == "/user":
            self.reply(200, {"id": 7})
        elif url.path == "/repos/team/project/pulls":
            mine = query.get("head") == "someone:feature/a" and query.get("state") == "open"
            self.reply(200, [{"number": 5, "head": {"sha": "cafe"}}] if mine else [])
        elif self.command == "GET":
            size, page = int(query["per_page"]), int(query["page"])
            self.reply(200, forge.comments[size * (page - 1) : size * page])
        elif self.command == "POST":
            self.reply(201, forge.write(content["body"], GITHUB_BOT if "/repos/" in url.path else GITLAB_BOT))
        else:
            number = int(url.path.rsplit("/", 1)[1])
            found = next(each for each in forge.comments if each["id"] == number)
            found["body"] = content["body"]
            self.reply(200, found)

    def reply(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_PUT = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def forge() -> Iterator[Forge]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.forge = Forge(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.forge  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def comment(forge: Forge, place: str, page: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "GITHUB_API_URL": forge.address,
        "GITHUB_REPOSITORY": "team/project",
        "GITHUB_TOKEN": TOKEN,
        "HEAD_OWNER": "someone",
        "HEAD_BRANCH": "feature/a",
        "HEAD_SHA": "cafe",
        "CI_API_V4_URL": forge.address,
        "CI_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_IID": "5",
        "REVIEW_TOKEN": TOKEN,
        **changed,
    }
    command = [sys.executable, "-I", str(SCRIPT), place, str(page)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text("## first\n")
    return path


PLACES = [
    ("github", GITHUB_BOT, {"user": {"login": "someone"}}, "PATCH /repos/team/project/issues/comments/"),
    ("gitlab", GITLAB_BOT, {"author": {"id": 1}}, "PUT /projects/3/merge_requests/5/notes/"),
]


@pytest.mark.parametrize(("place", "bot", "someone", "update"), PLACES, ids=["github", "gitlab"])
def test_the_second_run_updates_the_comment(forge: Forge, page: Path, place, bot, someone, update) -> None:
    forge.write("<!-- repflow compare -->\nnot ours to change", someone)
    for _ in range(130):
        forge.write("a long talk", someone)
    first = comment(forge, place, page)
    assert first.returncode == 0, first.stderr
    assert len(forge.comments) == 132
    page.write_text("## second\n")
    second = comment(forge, place, page)
    assert second.stdout.startswith("updated")
    assert len(forge.comments) == 132
    assert forge.comments[-1]["body"] == "<!-- repflow compare -->\n## second\n"
    assert forge.comments[0]["body"].endswith("not ours to change")
    assert forge.calls[-1] == f"{update}{forge.comments[-1]['id']}"


def test_only_the_last_commit_of_an_open_pull_request_is_commented_on(forge: Forge, page: Path) -> None:
    assert "nothing to say" in comment(forge, "github", page, HEAD_SHA="beef").stdout
    assert "nothing to say" in comment(forge, "github", page, HEAD_OWNER="other").stdout
    assert forge.comments == []


def test_a_page_that_is_too_long_is_cut_and_stays_valid_markdown(forge: Forge, page: Path) -> None:
    page.write_text("<details>\n\n```mermaid\n" + "a line\n" * 20_000 + "```\n\n</details>\n")
    assert comment(forge, "github", page).returncode == 0
    body = forge.comments[0]["body"]
    assert len(body) < 65_536
    assert body.count("```") == 2
    assert body.count("<details>") == body.count("</details>") == 1
    assert "among the run's artifacts" in body


def test_an_error_is_one_line_without_the_token(forge: Forge, page: Path) -> None:
    refused = comment(forge, "gitlab", page, REVIEW_TOKEN="another")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert "401" in refused.stderr
    assert "another" not in refused.stderr
    assert "GITHUB_TOKEN" in ROOT.joinpath(".github/workflows/comment.yml").read_text()
    assert comment(forge, "github", page.with_name("missing.md")).returncode == 1
    assert comment(forge, "elsewhere", page).returncode == 2

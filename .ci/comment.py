"""Put a comparison under a pull request (GitHub) or a merge request (GitLab): one comment, updated in place.

    python3 .ci/comment.py github review/comparison.md
    python3 .ci/comment.py gitlab review/comparison.md

It is given a token that may write, so it runs none of the code under review: it reads one file and calls the API. What
it needs to know comes from the environment that the CI sets, nothing from that file. Needs no package.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "<!-- repflow compare -->"
_MOST = 60_000
"""Characters; GitHub takes 65,536."""
_PAGE = 100


class Api:
    """An HTTP API that speaks JSON."""

    def __init__(self, address: str, headers: dict[str, str]):
        self._address = address.rstrip("/")
        self._headers = {"Content-Type": "application/json", **headers}

    def call(self, method: str, path: str, content: Any = None) -> Any:
        """The answer to a request; None where it has no body."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._address + path, data, self._headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def pages(self, path: str) -> Iterator[Any]:
        """The entries of a list that comes in pages."""
        number = 1
        while True:
            page = self.call("GET", f"{path}?per_page={_PAGE}&page={number}")
            yield from page
            if len(page) < _PAGE:
                return
            number += 1


def github(text: str) -> str:
    """Comment on the open pull request whose last commit is `HEAD_SHA`; return what was done.

    The number of the request is asked of GitHub: one that the change itself had written down could be another's.
    """
    headers = {"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"}
    api = Api(os.environ["GITHUB_API_URL"], headers)
    repository = f"/repos/{os.environ['GITHUB_REPOSITORY']}"
    head = urllib.parse.quote(f"{os.environ['HEAD_OWNER']}:{os.environ['HEAD_BRANCH']}", safe="")
    requests = api.call("GET", f"{repository}/pulls?state=open&head={head}")
    numbers = [each["number"] for each in requests if each["head"]["sha"] == os.environ["HEAD_SHA"]]
    if not numbers:
        return "no open pull request ends with this commit; nothing to say"
    comments = f"{repository}/issues/{numbers[0]}/comments"
    for each in api.pages(comments):
        if each["body"].startswith(MARK) and each["user"]["login"] == "github-actions[bot]":
            api.call("PATCH", f"{repository}/issues/comments/{each['id']}", {"body": text})
            return f"updated the comment on #{numbers[0]}"
    api.call("POST", comments, {"body": text})
    return f"commented on #{numbers[0]}"


def gitlab(text: str) -> str:
    """Comment on the merge request of this pipeline; return what was done."""
    api = Api(os.environ["CI_API_V4_URL"], {"PRIVATE-TOKEN": os.environ["REVIEW_TOKEN"]})
    own = api.call("GET", "/user")["id"]
    number = os.environ["CI_MERGE_REQUEST_IID"]
    notes = f"/projects/{os.environ['CI_PROJECT_ID']}/merge_requests/{number}/notes"
    for each in api.pages(notes):
        if each["body"].startswith(MARK) and each["author"]["id"] == own:
            api.call("PUT", f"{notes}/{each['id']}", {"body": text})
            return f"updated the note on !{number}"
    api.call("POST", notes, {"body": text})
    return f"noted on !{number}"


def body(page: str) -> str:
    """The comment's text: the page, cut between two lines where it is too long."""
    if len(page) > _MOST:
        page = page[:_MOST].rsplit("\n", 1)[0]
        page += "\n```\n" * (page.count("```") % 2)
        page += "\n</details>" * (page.count("<details>") - page.count("</details>"))
        page += "\n\nThe rest is too long for a comment; the whole is among the run's artifacts.\n"
    return f"{MARK}\n{page}"


def main() -> int:
    """Read the page, comment, say what was done."""
    places = {"github": github, "gitlab": gitlab}
    if len(sys.argv) != 3 or sys.argv[1] not in places:
        print("usage: comment.py github|gitlab PAGE.md", file=sys.stderr)
        return 2
    try:
        print(places[sys.argv[1]](body(Path(sys.argv[2]).read_text(encoding="utf-8"))))
    except KeyError as error:
        print(f"error: the environment has no {error}", file=sys.stderr)
        return 2
    except urllib.error.HTTPError as error:
        print(f"error: {error.url}: {error.code} {error.reason}; see docs/review.md on tokens", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

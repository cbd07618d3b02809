"""A browser for the tests that need one: skipped where there is none, except in the CI, which installs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]


def test_the_browser_shows_a_page(browser: Browser) -> None:
    with browser.new_page() as page:
        page.set_content("<title>here</title>")
        assert page.title() == "here"


@pytest.mark.parametrize(("required", "expected"), [("", "1 skipped"), ("required", "1 error")])
def test_a_machine_without_a_browser_fails_only_where_one_is_required(
    required: str, expected: str, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"{__file__}::test_the_browser_shows_a_page",
    ]
    environment = {**os.environ, "PATH": str(tmp_path), "REPFLOW_BROWSER": required}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert expected in done.stdout, done.stdout
    assert done.returncode == (1 if required else 0)


def machine(folder: Path, *programs: str) -> Path:
    """A folder for the PATH with what `.ci/run` calls, where `make` and `apt-get` say how they were called."""
    folder.mkdir()
    (folder / "dirname").symlink_to("/usr/bin/dirname")
    made = 'echo "make $* with a browser $REPFLOW_BROWSER, emulation $REPFLOW_EMULATION"'
    answers = {"make": made, "apt-get": 'echo "apt-get $*"', "id": "echo 0"}
    for name, answer in {**answers, **dict.fromkeys(programs, ":")}.items():
        (folder / name).write_text(f"#!/bin/sh\n{answer}\n")
        (folder / name).chmod(0o755)
    return folder


MADE = "make test with a browser required, emulation required\n"


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (["chromium", "qemu-x86_64"], ""),
        (["google-chrome", "qemu-x86_64"], ""),
        (["qemu-x86_64"], "chromium"),
        (["chromium"], "qemu-user"),
        ([], "chromium qemu-user"),
    ],
)
def test_the_ci_installs_what_the_tests_need_and_is_missing(there: list[str], missing: str, tmp_path: Path) -> None:
    path = machine(tmp_path / "bin", *there)
    done = subprocess.run(["/bin/bash", ".ci/run"], cwd=ROOT, env={"PATH": str(path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, MADE), done.stderr
    installed = ["apt-get update", f"apt-get install -y --no-install-recommends {missing}"]
    assert done.stderr.splitlines() == (installed if missing else [])


def test_the_tests_tell_of_a_browser_that_could_not_be_installed(tmp_path: Path) -> None:
    path = machine(tmp_path / "bin")
    (path / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    done = subprocess.run(["/bin/bash", ".ci/run"], cwd=ROOT, env={"PATH": str(path)}, capture_output=True, text=True)
    assert done.stdout == MADE
    assert "chromium qemu-user could not be installed" in done.stderr

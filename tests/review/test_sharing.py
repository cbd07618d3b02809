"""Sharing over a DVC remote on S3: a real server of the protocol, one clone that pushes and one that pulls."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

pytestmark = pytest.mark.xdist_group("history")  # which takes a while to make
BUCKET = "models-of-a-team"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while not answers(address):
            assert server.poll() is None, "the server did not start"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def _credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            patch.setenv(f"AWS_{name}", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield


def dvc(*arguments: str, folder: Path, code: int = 0) -> str:
    run = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def bucket(endpoint: str, _credentials: None):
    """A client of the server, which has an empty bucket."""
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    return client


def contents(bucket) -> dict[str, bytes]:
    """Key to content of every object."""
    keys = [each["Key"] for each in bucket.list_objects_v2(Bucket=BUCKET).get("Contents", ())]
    return {key: bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="module")
def shared(history: Path, bucket, endpoint: str, in_git, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A checkout whose cache was pushed, and what the bucket has since; the remote's settings are committed."""
    folder = tmp_path_factory.mktemp("shared") / "checkout"
    shutil.copytree(history, folder, symlinks=True)
    dvc("remote", "add", "--default", "storage", f"s3://{BUCKET}/project", folder=folder)
    for key, value in (("endpointurl", endpoint), ("verify", "true")):
        dvc("remote", "modify", "storage", key, value, folder=folder)
    in_git(folder, "commit", "--quiet", "--all", "--message", "Share by S3")
    dvc("push", folder=folder)
    return folder, contents(bucket)


@pytest.fixture
def pushed(shared: tuple[Path, dict[str, bytes]], bucket) -> Iterator[Path]:
    """That checkout; afterwards the bucket has again what was pushed."""
    folder, objects = shared
    yield folder
    for key, content in objects.items():
        bucket.put_object(Bucket=BUCKET, Key=key, Body=content)
    for key in contents(bucket).keys() - objects.keys():
        bucket.delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture
def clone(pushed: Path, tmp_path: Path, in_git) -> Path:
    """A fresh clone of that checkout, without data and without a cache."""
    in_git(tmp_path, "clone", "--quiet", str(pushed), "fresh")
    return tmp_path / "fresh"


def test_a_second_clone_pulls_and_runs_no_stage(clone: Path, tmp_path: Path, monkeypatch, in_git) -> None:
    dvc("pull", folder=clone)
    monkeypatch.setenv("TRACE", str(tmp_path / "trace"))
    assert "up to date" in dvc("status", folder=clone)
    assert "Running stage" not in dvc("repro", folder=clone)
    assert not (tmp_path / "trace").exists()
    assert in_git(clone, "status", "--porcelain") == ""
    (clone / "params.yaml").write_text("seed: 0\nskill: 0.8\n")
    dvc("repro", folder=clone)
    assert (tmp_path / "trace").read_text().split() == ["learn", "evaluate"]


def key_of(bucket, content: bytes) -> str:
    return next(key for key, found in contents(bucket).items() if found == content)


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_missing_or_damaged_object_is_reported_and_recreated_by_its_stage(
    clone: Path, bucket, damage: str, tmp_path: Path, monkeypatch, in_git
) -> None:
    key = key_of(bucket, b"0.9")
    if damage == "missing":
        bucket.delete_object(Bucket=BUCKET, Key=key)
    else:
        bucket.put_object(Bucket=BUCKET, Key=key, Body=b"0.1")
    assert "failed to pull" in dvc("pull", folder=clone, code=1)
    assert not (clone / "models/learner/skill.txt").exists()
    command = [Path(sys.executable).with_name("repflow"), "check", "--cache"]
    check = subprocess.run(command, cwd=clone, env=os.environ, capture_output=True, text=True)
    assert check.returncode == 5
    assert "models/learner" in check.stderr
    assert "(of learn)" in check.stderr
    monkeypatch.setenv("TRACE", str(tmp_path / "trace"))
    dvc("repro", folder=clone)
    assert (tmp_path / "trace").read_text().split() == ["learn"]
    assert in_git(clone, "status", "--porcelain") == ""

"""Sharing over a DVC remote on S3: a real server of the protocol, one clone that pushes and one that pulls."""

import os
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


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def dvc(*arguments: str, folder: Path, code: int = 0) -> str:
    run = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    return run.stdout + run.stderr


@pytest.fixture
def bucket(endpoint: str):
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=each["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def pushed(checkout: Path, bucket, endpoint: str, in_git) -> Path:
    """A checkout whose cache was pushed; the remote's settings are committed."""
    dvc("remote", "add", "--default", "storage", f"s3://{BUCKET}/project", folder=checkout)
    for key, value in (("endpointurl", endpoint), ("verify", "true")):
        dvc("remote", "modify", "storage", key, value, folder=checkout)
    in_git(checkout, "commit", "--quiet", "--all", "--message", "Share by S3")
    dvc("push", folder=checkout)
    return checkout


def fresh(pushed: Path, in_git) -> Path:
    in_git(pushed.parent, "clone", "--quiet", "checkout", "fresh")
    return pushed.parent / "fresh"


def test_a_second_clone_pulls_and_runs_no_stage(pushed: Path, tmp_path: Path, monkeypatch, in_git) -> None:
    clone = fresh(pushed, in_git)
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
    keys = [each["Key"] for each in bucket.list_objects_v2(Bucket=BUCKET)["Contents"]]
    return next(key for key in keys if bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read() == content)


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_missing_or_damaged_object_is_reported_and_recreated_by_its_stage(
    pushed: Path, bucket, damage: str, tmp_path: Path, monkeypatch, in_git
) -> None:
    key = key_of(bucket, b"0.9")
    if damage == "missing":
        bucket.delete_object(Bucket=BUCKET, Key=key)
    else:
        bucket.put_object(Bucket=BUCKET, Key=key, Body=b"0.1")
    clone = fresh(pushed, in_git)
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

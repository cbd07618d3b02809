"""Weights from files and hubs: what is read, what is refused and in which words, and what is told of their origin."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from repflow.encoders import build_encoder
from repflow.encoders.pretrained import TimmConfig, TorchvisionConfig, fill
from repflow.encoders.pretrained.files import read_weights
from repflow.encoders.pretrained.hub import from_url
from repflow.errors import DataError, ParameterError

Trained = Callable[[nn.Module], Any]


def filled(config: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any] | None]:
    encoder = build_encoder(config, 3, 160)
    origin = fill(encoder, config)
    return encoder.model.state_dict(), origin  # type: ignore[operator, union-attr]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() <= other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("form", ["weights", "wrapped", "averaged", "distributed", "headless", "other_head"])
def test_files_in_every_usual_form_are_read(resnet_file: Path, tmp_path: Path, form: str) -> None:
    weights = load_file(resnet_file)
    nothing = {name: torch.zeros_like(value) for name, value in weights.items()}
    headless = {name: value for name, value in weights.items() if not name.startswith("fc.")}
    forms: dict[str, Any] = {
        "weights": weights,
        "wrapped": {"epoch": 3, "arch": "test_resnet", "state_dict": weights},
        "averaged": {"state_dict": nothing, "state_dict_ema": weights},
        "distributed": {"model": {f"module.{name}": value for name, value in weights.items()}},
        "headless": headless,
        "other_head": {**headless, "fc.weight": torch.zeros(7, 96), "fc.bias": torch.zeros(7)},
    }
    torch.save(forms[form], tmp_path / "weights.pth")
    found, _ = filled(TimmConfig(model="test_resnet", weights=str(tmp_path / "weights.pth")))
    assert same(found, weights)


def test_the_origin_of_a_file_is_its_digest(resnet_file: Path) -> None:
    digest = hashlib.sha256(resnet_file.read_bytes()).hexdigest()
    _, origin = filled(TimmConfig(model="test_resnet", weights=str(resnet_file), weights_sha256=digest, license="MIT"))
    assert origin == {
        "library": "timm", "model": "test_resnet", "source": "file", "license": "MIT", "sha256": digest
    }  # fmt: skip
    assert filled(TimmConfig(model="test_resnet"))[1] is None


def test_another_file_than_the_digest_says_is_refused(resnet_file: Path) -> None:
    with pytest.raises(DataError, match=r"its SHA-256 digest is [0-9a-f]{64}, but encoder\.weights_sha256 is 0000"):
        filled(TimmConfig(model="test_resnet", weights=str(resnet_file), weights_sha256="0" * 64))


def test_weights_of_another_model_are_refused_with_names_and_shapes(resnet_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        filled(TimmConfig(model="test_vit", weights=str(resnet_file)))
    message = str(caught.value)
    assert 'not the weights of timm\'s test_vit: Missing key(s) in state_dict: "cls_token"' in message
    assert "Unexpected key(s) in state_dict: " in message
    assert len(message) < 1500
    assert "\n" not in message
    with pytest.raises(DataError, match="not the weights of torchvision's resnet18: Missing key"):
        filled(TorchvisionConfig(model="resnet18", weights=str(resnet_file)))
    wide = load_file(resnet_file)
    wide["conv1.0.weight"] = torch.zeros(9, 3, 3, 3)
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(DataError, match=r"size mismatch for conv1\.0\.weight: .*\[9, 3, 3, 3\].* the shape in current"):
        filled(TimmConfig(model="test_resnet", weights=str(tmp_path / "wide.safetensors")))


class _Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


def test_no_code_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in ({"state_dict": {}, "extra": _Evil()}, {"args": argparse.Namespace(), "model": {}}):
        torch.save(content, "weights.pth")
        with pytest.raises(DataError, match="not a PyTorch file of weights alone"):
            read_weights(Path("weights.pth"))
    assert not Path("evil").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "absent.pth",
            None,
            r"absent\.pth: cannot be read \(No such file or directory\); name a safetensors or PyTorch",
        ),
        ("text.pth", b"these are no weights", "neither safetensors nor a PyTorch file|not a PyTorch file of weights"),
        ("cut.safetensors", b"\x10\x00", "neither safetensors nor a PyTorch file, or damaged"),
        ("empty.pth", b"", "neither safetensors nor a PyTorch file, or damaged"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}], ids=["list", "numbers", "empty"])
def test_a_file_without_weights_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(DataError, match="contains no state_dict"):
        read_weights(tmp_path / "weights.pth")


# --- hubs -----------------------------------------------------------------------------------------------------------


class _Hub(SimpleHTTPRequestHandler):
    """Serves a folder as the Hugging Face hub serves repositories, and as any web server."""

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()

    def end_headers(self) -> None:
        self.send_header("ETag", '"0123456789abcdef"')
        self.send_header("X-Repo-Commit", "c" * 40)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a web server on the folder `hub`."""
    (tmp_path / "hub").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, directory=str(tmp_path / "hub"))) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


PROGRAM = """
import json, sys
from repflow.encoders import EncoderConfig, build_encoder
from repflow.encoders.pretrained import fill
from repflow.errors import RepflowError
from repflow.schema import build
config = build(EncoderConfig, json.loads(sys.argv[1]), "encoder")
encoder = build_encoder(config, 3, 160)
try:
    print(json.dumps([fill(encoder, config), encoder.model.state_dict()["conv1.0.weight"].sum().item()]))
except RepflowError as error:
    print(json.dumps(str(error)))
"""


def fill_elsewhere(config: dict[str, Any], home: Path, **environment: str) -> Any:
    """What a process of its own makes of `config`: Hugging Face's client reads its settings when it is imported."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    places = {"HF_HOME": str(home), "TORCH_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(config)],
        env={**kept, **places, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_weights_come_from_the_hub_and_then_from_its_cache(resnet_file: Path, tmp_path: Path, server: str) -> None:
    place = tmp_path / "hub/timm/test_resnet.r160_in1k/resolve/main"
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(resnet_file.read_bytes())
    config = {"name": "timm", "model": "test_resnet.r160_in1k", "weights": "hub"}
    origin, total = fill_elsewhere(config, tmp_path / "home", HF_ENDPOINT=server)
    assert origin == {
        "library": "timm",
        "model": "test_resnet.r160_in1k",
        "source": "timm/test_resnet.r160_in1k",
        "url": "https://huggingface.co/timm/test_resnet.r160_in1k",
        "license": "apache-2.0",
        "tag": "r160_in1k",
        "sha256": hashlib.sha256(resnet_file.read_bytes()).hexdigest(),
    }
    assert total == pytest.approx(load_file(resnet_file)["conv1.0.weight"].sum().item())
    (place / "model.safetensors").unlink()
    assert fill_elsewhere(config, tmp_path / "home", HF_HUB_OFFLINE="1") == [origin, total]


def test_without_a_network_one_message_names_the_file(tmp_path: Path) -> None:
    config = {"name": "timm", "model": "test_resnet", "weights": "hub"}
    for environment in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        message = fill_elsewhere(config, tmp_path / "home", **environment)
        assert message.startswith("encoder.weights: hub: the weights of timm's test_resnet are not on this machine")
        assert "Wanted is the file model.safetensors of https://huggingface.co/timm/test_resnet.r160_in1k." in message
        assert "encoder.weights to its path; or `hf download timm/test_resnet.r160_in1k model.safetensors`" in message
        assert "\n" not in message


def test_torchvisions_weights_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DataError) as caught:
        filled(TorchvisionConfig(model="resnet18", weights="hub"))
    message = str(caught.value)
    assert "Wanted is the file https://download.pytorch.org/models/resnet18-f37072fd.pth." in message
    assert f"or {tmp_path}/hub/checkpoints/resnet18-f37072fd.pth is where it is looked for" in message
    assert not list((tmp_path / "hub/checkpoints").iterdir()), "nothing half is left"


def test_torchvisions_weights_are_found_where_the_message_says(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub/checkpoints/resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    weights = trained(models.resnet18()).state_dict()
    torch.save(weights, path)
    found, origin = filled(TorchvisionConfig(model="resnet18", weights="hub"))
    assert same(found, weights)
    assert origin is not None
    assert origin["source"] == "ResNet18_Weights.IMAGENET1K_V1"
    assert origin["url"] == "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert "license" in origin
    assert origin["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_download_with_another_digest_than_its_name_is_refused(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    content = b"weights"
    for digest in (hashlib.sha256(content).hexdigest()[:8], "0" * 8):
        (tmp_path / "hub" / f"net-{digest}.pth").write_bytes(content)
    right, wrong = (f"{server}/net-{digest}.pth" for digest in (hashlib.sha256(content).hexdigest()[:8], "0" * 8))
    assert from_url(right, "net").read_bytes() == content
    with pytest.raises(DataError, match="invalid hash value"):
        from_url(wrong, "net")


def test_a_model_without_weights_is_named() -> None:
    without = next(name for name in timm.list_models() if not timm.models.is_model_pretrained(name))
    config = TimmConfig(model=without, weights="hub")
    from repflow.encoders.pretrained.timm import Timm

    with pytest.raises(
        ParameterError, match=f"hub: there are no weights of timm's {without}; set encoder.weights to a"
    ):
        Timm(config).from_hub()

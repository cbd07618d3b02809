"""Data-parallel training on two processes gives the losses of one process."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from repflow.errors import ParameterError
from repflow.training.distributed import DistributedBatchNorm, check_batch_sizes, synchronise_batch_norm

pytestmark = pytest.mark.xdist_group("ranks")  # one worker trains for all tests here

PROGRAM = Path(__file__).with_name("shared_training.py")


@pytest.fixture(scope="module", params=["32-true", "64-true"])
def curves(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """The curves of one process, and of two.

    Contrastive training in single precision amplifies rounding differences, at high learning rates beyond 1e-5. Double
    precision with a high learning rate shows that there is no other difference (curves are rounded to 1e-7).
    """
    precision = request.param
    folder = tmp_path_factory.mktemp("curves")
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    found: dict[Any, Any] = {"near": 1e-5 if precision == "32-true" else 5e-7}
    for devices in (1, 2):
        file = folder / f"{devices}.json"
        done = subprocess.run(
            [sys.executable, str(PROGRAM), str(devices), precision, str(file)],
            capture_output=True,
            text=True,
            env=quiet,
        )
        assert done.returncode == 0, done.stderr
        found[devices] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("method", ["simclr", "fixmatch", "dann"])
def test_two_processes_have_the_losses_of_one(curves: dict[Any, Any], method: str) -> None:
    assert curves[2]["ranks"] == 2
    one, two = (curves[devices][method] for devices in (1, 2))
    assert len(one) == len(two) == 30
    assert one[-1]["loss"] != one[0]["loss"]
    for alone, shared in zip(one, two, strict=True):
        assert shared == pytest.approx(alone, abs=curves["near"], rel=0)


def test_a_batch_size_that_does_not_divide_among_devices_is_refused() -> None:
    check_batch_sizes({"labelled": 12, "unlabelled": 36}, 3)
    with pytest.raises(ParameterError, match="16 images of stream 'labelled' in a step cannot be shared by 3 devices"):
        check_batch_sizes({"labelled": 16}, 3)


def test_distributed_batch_norm_equals_pytorchs_on_one_process(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        for layer, shape in ((nn.BatchNorm1d(5), (7, 5)), (nn.BatchNorm2d(5, momentum=None), (3, 5, 4, 4))):
            nn.init.normal_(layer.weight)
            common = DistributedBatchNorm(copy.deepcopy(layer))
            features = torch.randn(shape, requires_grad=True)
            ours, theirs = common(features), layer(features)
            assert torch.allclose(ours, theirs, atol=1e-5)
            weight = torch.randn(shape)
            (mine,) = torch.autograd.grad((ours * weight).sum(), features)
            (right,) = torch.autograd.grad((theirs * weight).sum(), features)
            assert torch.allclose(mine, right, atol=1e-5)
            assert common.state_dict().keys() == layer.state_dict().keys()
            for name, value in layer.state_dict().items():
                assert torch.allclose(common.state_dict()[name].double(), value.double(), atol=1e-6), name
            assert torch.allclose(common.eval()(features), layer.eval()(features), atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()


def test_an_activation_within_a_batch_norm_is_kept(tmp_path: Path) -> None:
    """As in timm's layers, whose activation is a submodule of a class of batch normalisation."""
    from timm.layers import BatchNormAct2d

    layer = BatchNormAct2d(5, act_layer=nn.ReLU)
    nn.init.normal_(layer.weight)
    network = nn.Sequential(copy.deepcopy(layer))
    synchronise_batch_norm(network, torch.device("cpu"))
    features = torch.randn(3, 5, 4, 4)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        assert torch.allclose(network(features), layer(features), atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()
    assert torch.allclose(network.eval()(features), layer.eval()(features), atol=1e-5)
    assert network[0].state_dict().keys() == layer.state_dict().keys()


def test_synchronised_layers_of_a_gpu_keep_their_activation() -> None:
    from timm.layers import BatchNormAct2d

    network = nn.Sequential(nn.BatchNorm2d(5), BatchNormAct2d(5, act_layer=nn.ReLU))
    synchronise_batch_norm(network, torch.device("cuda"))
    assert [type(layer) for layer in network] == [nn.SyncBatchNorm, DistributedBatchNorm]

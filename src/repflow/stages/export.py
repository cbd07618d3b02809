"""The command `export`: a trained classifier as an ONNX file, for use without PyTorch."""

import json
from pathlib import Path

import numpy as np

from repflow.encoders.model_files import load_classifier
from repflow.errors import DataError, ParameterError
from repflow.files import writing

TOLERANCE = 1e-4
"""The largest allowed difference of a probability between PyTorch and ONNX Runtime."""


def run(model: Path, output: Path) -> None:
    """Export the classifier in `model` to `output`, after checking that ONNX Runtime gives the same probabilities.

    The file has one input `images`, float32 [B, channels, size, size] in [0, 1], and one output `probabilities`,
    float32 [B, classes]. Its metadata hold `classes` and `preprocessing` as JSON.

    Raises:
        DataError: there is no usable model, or the exported model gives other probabilities.
        ParameterError: the extra `repflow[export]` is not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - PyTorch's exporter needs it
        import torch
    except ImportError as error:
        raise ParameterError(f"export: {error.name} is not installed; run `pip install 'repflow[export]'`") from error

    classifier, description = load_classifier(model)
    whole = torch.nn.Sequential(classifier, torch.nn.Softmax(dim=1)).eval()
    channels, size = (description.preprocessing[name] for name in ("channels", "size"))
    images = torch.rand(3, channels, size, size, generator=torch.Generator().manual_seed(0))
    with writing(output) as fresh:
        program = torch.onnx.export(
            whole,
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
        assert program is not None
        proto = program.model_proto
        facts = {"classes": list(description.classes), "preprocessing": dict(description.preprocessing)}
        onnx.helper.set_model_props(proto, {name: json.dumps(value) for name, value in facts.items()})
        onnx.save(proto, str(fresh))
        session = onnxruntime.InferenceSession(str(fresh), providers=["CPUExecutionProvider"])
        for count in (1, 3):  # the batch size is dynamic
            (found,) = session.run(None, {"images": images[:count].numpy()})
            with torch.no_grad():
                expected = whole(images[:count]).numpy()
            off = float(np.abs(found - expected).max())
            if off > TOLERANCE:
                raise DataError(
                    f"export: probabilities of ONNX Runtime differ from PyTorch by {off:.2g}, more than {TOLERANCE:g};"
                    " the file was not written; try another version of onnxruntime"
                )

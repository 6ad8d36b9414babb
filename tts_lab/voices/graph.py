"""Read a published Piper voice: the generator's weights and sizes out of its ONNX graph.

Most initializers keep the names of Piper's modules, with three exceptions. A convolution with weight norm was
folded into an anonymous weight, but its bias kept its name, and the two meet in one node. The embeddings are found as
the tables that the inputs `input` and `sid` index. `dp.flows.0.logs` was folded into the constant `exp(-logs)`.
Torch merges equal initializers of an untrained model; an Identity node then keeps the other name.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tts_lab.errors import UserError
from tts_lab.voices.onnxfile import Session, arrays, read_graph
from tts_lab.voices.sizes import flow_sizes, sizes

INPUTS = ("input", "input_lengths", "scales")

NOT_IN_ONNX = ("enc_q.", "dp.post_", "dp.flows.1.")
"""What a voice needs only for training, so export leaves it out: the posterior encoder of speech and of durations."""

_FOLDABLE = {"Identity": np.asarray, "Neg": np.negative, "Exp": np.exp}
"""What an exporter may leave standing between an initializer and the node that uses it."""


class VoiceGraph:
    """A Piper ONNX file, open for reading.

    `weights` maps Piper's state-dict names to arrays, weight norm folded. Raises UserError where the file is no
    ONNX file or not a Piper (VITS) voice, naming what is missing.
    """

    def __init__(self, path: Path):
        self.path = path
        self._model = read_graph(path)
        graph = self._model.graph
        self._nodes = list(graph.node)
        if bare := next((n for n in self._nodes if not n.output or not (n.input or n.attribute)), None):
            raise UserError(f"{path} is damaged: its node {bare.name[:60]!r} has nothing to read or nothing to say.")
        constants = {n.output[0]: n.attribute[0].t for n in self._nodes if n.op_type == "Constant" and n.attribute}
        held = {tensor.name: tensor for tensor in graph.initializer}
        self._arrays = arrays(path, held | {name: tensor for name, tensor in constants.items() if tensor.data_type})
        for node in self._nodes:
            if node.op_type in _FOLDABLE and node.input and node.input[0] in self._arrays:
                self._arrays[node.output[0]] = _FOLDABLE[node.op_type](self._arrays[node.input[0]])
        missing = [f"the input {name!r}" for name in INPUTS if name not in {i.name for i in graph.input}]
        self.weights = self._named_weights()
        parts = {"enc_p.emb.": "the phoneme embedding", "enc_p.encoder.": "the text encoder (enc_p)"}
        parts |= {"dp.": "the duration predictor (dp)", "flow.": "the flow", "dec.": "the decoder (dec)"}
        missing += [what for name, what in parts.items() if not any(weight.startswith(name) for weight in self.weights)]
        if missing:
            raise UserError(f"{path} is not a Piper voice: it lacks {', '.join(missing)}.")

    def sizes(self) -> dict[str, Any]:
        """Arguments of Piper's SynthesizerTrn that the graph tells, under Piper's names."""
        try:
            return sizes(
                self._shapes(),
                lambda conv: self._attribute(conv, "dilations"),
                lambda up: self._attribute(up, "strides"),
            )
        except KeyError as error:
            raise UserError(f"{self.path} is not a complete Piper voice: it lacks the weight {error}.") from None
        except (IndexError, TypeError, ValueError, ZeroDivisionError):
            raise UserError(f"{self.path} is damaged: its weights are not shaped as a Piper voice's.") from None

    def state_dict(self, expected: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """The arrays for a generator whose state dict has these names and shapes, weight norm unfolded.

        Leaves out what no voice holds (`NOT_IN_ONNX`). Raises UserError where anything else is absent or of
        another shape.
        """
        found, problems = {}, []
        for name, shape in expected.items():
            if name.startswith(NOT_IN_ONNX):
                continue
            array = self._parameter(name, shape)
            if array is None:
                problems.append(f"{name} {list(shape)}")
            elif array.shape != shape:
                problems.append(f"{name} {list(shape)} (there it is {list(array.shape)})")
            else:
                found[name] = array.astype(np.float32)
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise UserError(
                f"{self.path} cannot be adopted: these weights are not in it: {', '.join(problems[:5])}{more}. "
                "Voices exported by Piper's own trainer or by tts-lab hold them all."
            )
        return found

    def flow_sizes(self) -> dict[str, int]:
        """Depths of the flow, which Piper fixes at four couplings of four layers."""
        return flow_sizes(self._shapes())

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: array.shape for name, array in self.weights.items()}

    def session(self, expose_latent: bool = False, seed: int = 0) -> Session:
        """An ONNX Runtime session of the voice on the CPU, its noise drawn from `seed`.

        `expose_latent` adds a second output: the latent z that enters the decoder, (1, channels, frames).
        """
        model = self._model
        if expose_latent:
            model = onnx.ModelProto()
            model.CopyFrom(self._model)
            latent = self._node("dec.conv_pre").input[0]
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(latent))
        return Session(model, self.path, seed)

    def _named_weights(self) -> dict[str, np.ndarray]:
        roots = ("enc_p.", "dp.", "flow.", "dec.", "emb_g.")
        weights = {name: array for name, array in self._arrays.items() if name.startswith(roots)}
        for node in self._nodes:
            if node.op_type in ("Conv", "ConvTranspose") and len(node.input) == 3:
                kernel, bias = node.input[1], node.input[2]
                if kernel in self._arrays and kernel not in weights and bias.endswith(".bias"):
                    weights[bias.removesuffix("bias") + "weight"] = self._arrays[kernel]
            elif node.op_type == "Gather" and node.input[0] in self._arrays:
                table = {"input": "enc_p.emb.weight", "sid": "emb_g.weight"}.get(node.input[1])
                if table:
                    weights[table] = self._arrays[node.input[0]]
        scale = self._folded_duration_scale()
        if scale is not None:
            weights.setdefault("dp.flows.0.logs", -np.log(scale))
        return weights

    def _folded_duration_scale(self) -> np.ndarray | None:
        """exp(-logs) of the duration predictor's affine layer: what (x - m) is multiplied by."""
        differences = {n.output[0] for n in self._nodes if n.op_type == "Sub" and "dp.flows.0.m" in n.input}
        for node in self._nodes:
            if node.op_type == "Mul" and differences & set(node.input):
                for name in node.input:
                    if name in self._arrays:
                        return self._arrays[name]
        return None

    def _parameter(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        for suffix in ("_g", "_v"):
            if name.endswith(".weight" + suffix):
                weight = self.weights.get(name.removesuffix(suffix))
                if weight is None or suffix == "_v":
                    return weight
                length = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
                return length.reshape(shape) if length.size == math.prod(shape) else weight
        return self.weights.get(name)

    def _node(self, module: str) -> onnx.NodeProto:
        """The convolution that a module became."""
        weight = self.weights.get(f"{module}.weight")
        for node in self._nodes:
            if node.op_type in ("Conv", "ConvTranspose") and self._arrays.get(node.input[1]) is weight:
                return node
        raise UserError(f"{self.path} is not a complete Piper voice: no convolution uses {module}.weight.")

    def _attribute(self, module: str, name: str) -> int:
        numbers = next((a.ints for a in self._node(module).attribute if a.name == name), ())
        if not numbers:
            raise UserError(f"{self.path} is not a complete Piper voice: the convolution {module} has no {name}.")
        return int(numbers[0])

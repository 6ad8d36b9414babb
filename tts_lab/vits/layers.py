"""Piper's layers with forward passes of static shape and plain primitives.

Each class here holds exactly the parameters of the Piper class it replaces and overrides ``forward`` alone.
What is avoided, and why (neuron-facts 0.3 to 0.6): ``split`` with sizes is silently wrong without
functionalization, boolean masks and ``_weight_norm`` fall back to the CPU, TorchScript hides from a tracer.
"""

import math

import torch
from piper.train.vits import attentions, models, modules
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.weight_norm import WeightNorm

from tts_lab.vits import filtering, products
from tts_lab.vits.attention import MultiHeadAttention

MIN_BIN = 1e-3  # least width and height of a spline bin, and least derivative at a knot
MIN_DERIVATIVE = 1e-3


class PrimitiveWeightNorm(WeightNorm):
    """Weight normalisation ``w = g v / |v|`` (Salimans & Kingma 2016) spelled out in primitives.

    ``torch._weight_norm`` has no XLA lowering. Parameters stay ``weight_g`` and ``weight_v``; the weight is there
    during a forward pass alone, for what outlives a step is an output of its graph on a lazy device.
    """

    def drop(self, module: nn.Module, *_: object) -> None:
        """Forget the weight; a forward hook. It is a parameter, and stays, where the weight norm was removed."""
        module.__dict__.pop(self.name, None)

    def remove(self, module: nn.Module) -> None:
        setattr(module, self.name, None)  # what it deletes
        super().remove(module)

    def compute_weight(self, module: nn.Module) -> Tensor:
        ready = self.__dict__.pop("ready", None)
        return _Normalised.apply(module.weight_v, module.weight_g, self.axes(module)) if ready is None else ready

    def axes(self, module: nn.Module) -> list[int]:
        """The axes that the norm is taken over."""
        return [axis for axis in range(module.weight_v.dim()) if axis != self.dim]


class _Normalised(torch.autograd.Function):
    """``g v / |v|`` with its gradient written out: autograd's own is twice the operations and passes over memory."""

    @staticmethod
    def forward(ctx, direction: Tensor, gain: Tensor, axes: list[int]) -> Tensor:
        norm = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
        scale = gain / norm
        ctx.axes = axes
        ctx.save_for_backward(direction, norm, scale)
        return direction * scale

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor):
        direction, norm, scale = ctx.saved_tensors
        along = (gradient * direction).sum(ctx.axes, keepdim=True) / norm  # the gradient of the gain
        return (gradient - direction * (along / norm)) * scale, along, None


def normalise_together(model: nn.Module) -> None:
    """Compute the weights of all convolutions of one shape at once, for the forward pass that follows.

    Where each operation costs the host a fixed time, as on a lazy device, this takes a seventh of the operations.
    """
    groups: dict[tuple, list] = {}
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, PrimitiveWeightNorm):
                groups.setdefault((module.weight_v.shape, hook.dim), []).append((module, hook))
    for members in groups.values():
        module, hook = members[0]
        directions, gains = (torch.stack([getattr(m, name) for m, _ in members]) for name in ("weight_v", "weight_g"))
        weights = _Normalised.apply(directions, gains, [axis + 1 for axis in hook.axes(module)])
        for (_, own), weight in zip(members, weights.unbind(), strict=True):
            own.ready = weight


class Conv1d(nn.Conv1d):
    """A convolution that takes the cheaper way where there is one, or the safer where it is chosen."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if products.suits(self, x):
            return products.convolve(x, weight, bias, self.stride[0], self.padding[0], self.dilation[0], self.groups)
        if filtering.suits(self, x):
            return filtering.correlate(x, filtering.transform(weight), bias)
        return super()._conv_forward(x, weight, bias)


class ConvTranspose1d(nn.ConvTranspose1d):
    """A transposed convolution that takes the safer way where it is chosen."""

    def forward(self, x: Tensor) -> Tensor:
        if products.suits(self, x):
            return products.convolve_transposed(x, self.weight, self.bias, self.stride[0], self.padding[0])
        return super().forward(x)


class WN(modules.WN):
    """Dilated gated convolutions (WaveNet). ``x (B, C, T)``, ``x_mask (B, 1, T)``, ``g (B, G, 1)`` -> ``(B, C, T)``."""

    def forward(self, x: Tensor, x_mask: Tensor, g: Tensor | None = None, **_: object) -> Tensor:
        output = None
        conditions = self.cond_layer(g).chunk(self.n_layers, 1) if g is not None else None
        last = self.n_layers - 1
        for i, (in_layer, res_skip_layer) in enumerate(zip(self.in_layers, self.res_skip_layers, strict=True)):
            gates = in_layer(x) if conditions is None else in_layer(x) + conditions[i]
            filtered, gate = gates.chunk(2, 1)
            res_skip = res_skip_layer(self.drop(torch.tanh(filtered) * torch.sigmoid(gate)))
            if i < last:
                residual, skip = res_skip.chunk(2, 1)
                x = (x + residual) * x_mask
            else:
                skip = res_skip
            output = skip if output is None else output + skip
        return output * x_mask


class ResidualCouplingLayer(modules.ResidualCouplingLayer):
    """Affine coupling (Dinh et al. 2017) with ``chunk`` for Piper's ``split([a, b])``."""

    def forward(self, x: Tensor, x_mask: Tensor, g: Tensor | None = None, reverse: bool = False):
        kept, moved = x.chunk(2, 1)
        stats = self.post(self.enc(self.pre(kept) * x_mask, x_mask, g=g)) * x_mask
        mean, log_scale = (stats, torch.zeros_like(stats)) if self.mean_only else stats.chunk(2, 1)
        if reverse:
            return torch.cat([kept, (moved - mean) * torch.exp(-log_scale) * x_mask], 1)
        moved = mean + moved * torch.exp(log_scale) * x_mask
        return torch.cat([kept, moved], 1), log_scale.sum([1, 2])


class ConvFlow(modules.ConvFlow):
    """Spline coupling layer of the stochastic duration predictor (VITS, appendix B)."""

    def forward(self, x: Tensor, x_mask: Tensor, g: Tensor | None = None, reverse: bool = False):
        kept, moved = x.chunk(2, 1)
        h = self.proj(self.convs(self.pre(kept), x_mask, g=g)) * x_mask
        batch, channels, length = kept.shape
        h = h.reshape(batch, channels, -1, length).permute(0, 1, 3, 2)
        scale, bins = math.sqrt(self.filter_channels), self.num_bins
        moved, log_det = rational_quadratic_spline(
            moved, h[..., :bins] / scale, h[..., bins : 2 * bins] / scale, h[..., 2 * bins :],
            inverse=reverse, bound=self.tail_bound,
        )  # fmt: skip
        x = torch.cat([kept, moved], 1) * x_mask
        return x if reverse else (x, (log_det * x_mask).sum([1, 2]))


class StochasticDurationPredictor(models.StochasticDurationPredictor):
    """Negative log-likelihood of durations, ``(B,)``, or with ``reverse`` log durations ``(B, 1, T)``."""

    def forward(self, x, x_mask, w=None, g=None, reverse=False, noise_scale=1.0):
        x = self.pre(x.detach())
        if g is not None:
            x = x + self.cond(g.detach())
        x = self.proj(self.convs(x, x_mask)) * x_mask
        if reverse:
            z = torch.randn(x.size(0), 2, x.size(2), device=x.device) * noise_scale
            # Piper leaves one flow out here: flows[1] never runs when speaking.
            for flow in [*reversed(self.flows[2:]), self.flows[0]]:
                z = flow(z, x_mask, g=x, reverse=True)
            return z[:, :1]
        h = self.post_proj(self.post_convs(self.post_pre(w), x_mask)) * x_mask
        noise = torch.randn(x.size(0), 2, x.size(2), device=x.device) * x_mask
        z_q, log_det_q = self._through(self.post_flows, noise, x_mask, x + h)
        z_u, z1 = z_q[:, :1], z_q[:, 1:]
        z0 = (w - torch.sigmoid(z_u) * x_mask) * x_mask
        log_det_q = log_det_q + ((F.logsigmoid(z_u) + F.logsigmoid(-z_u)) * x_mask).sum([1, 2])
        log_q = _standard_normal(noise, x_mask) - log_det_q
        z0, log_det_0 = self.log_flow(z0, x_mask)
        z, log_det = self._through(self.flows, torch.cat([z0, z1], 1), x_mask, x)
        return log_q - (_standard_normal(z, x_mask) + log_det + log_det_0)

    @staticmethod
    def _through(flows: nn.ModuleList, z: Tensor, x_mask: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros(z.size(0)).to(z)
        for flow in flows:
            z, log_det = flow(z, x_mask, g=g)
            total = total + log_det
        return z, total


class Log(modules.Log):
    """``log(max(x, 1e-5))``, the first flow of the duration predictor."""

    def forward(self, x: Tensor, x_mask: Tensor, reverse: bool = False, **_: object):
        if reverse:
            return torch.exp(x) * x_mask
        y = torch.log(torch.maximum(x, torch.full_like(x, 1e-5))) * x_mask  # the gradient of a clamp compares in f64
        return y, torch.sum(-y, [1, 2])


def _standard_normal(z: Tensor, mask: Tensor) -> Tensor:
    """Log-likelihood ``(B,)`` of ``z (B, C, T)`` under a standard normal, over unmasked positions."""
    return (-0.5 * (math.log(2 * math.pi) + z.square()) * mask).sum([1, 2])


def rational_quadratic_spline(
    x: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor, inverse: bool, bound: float
) -> tuple[Tensor, Tensor]:
    """Monotonic rational-quadratic spline on ``[-bound, bound]``, identity outside (Durkan et al. 2019, eq. 4-8).

    The piece an input falls in is picked with a one-hot sum, so every input goes through the spline and
    ``where`` chooses; Piper selects by boolean mask. Bit-equal to Piper's on the same inputs.

    Args:
        x: ``(...)``; widths, heights: unnormalised, ``(..., K)``; derivatives: unnormalised, ``(..., K - 1)``.

    Returns:
        The transformed input and the log of the absolute derivative, both ``(...)``.
    """
    inside = x.clamp(-bound, bound) == x
    x_in = torch.where(inside, x, torch.zeros_like(x))  # keeps the unused branch and its gradient finite
    edge = math.log(math.exp(1 - MIN_DERIVATIVE) - 1)  # softplus of it plus the minimum is 1: matches the identity
    slopes = MIN_DERIVATIVE + F.softplus(F.pad(derivatives, (1, 1), value=edge))
    x_knots, w = _knots(widths, bound)
    y_knots, h = _knots(heights, bound)
    searched = y_knots if inverse else x_knots
    # Knots at or left of the input, one by one: the last true one marks the piece. The right edge is nudged so
    # that an input exactly on it belongs to the last piece.
    at_or_left = x_in[..., None] >= torch.cat([searched[..., :-1], searched[..., -1:] + 1e-6], -1)
    piece = at_or_left[..., :-1] & ~at_or_left[..., 1:]

    told = torch.stack([x_knots[..., :-1], w, y_knots[..., :-1], h, h / w, slopes[..., :-1], slopes[..., 1:]], -2)
    x_left, width, y_left, height, delta, d0, d1 = torch.where(piece[..., None, :], told, 0.0).sum(-1).unbind(-1)
    bend = d0 + d1 - 2 * delta
    if inverse:
        offset = x_in - y_left
        a = offset * bend + height * (delta - d0)
        b = height * d0 - offset * bend
        c = -delta * offset
        theta = (2 * c) / (-b - torch.sqrt(b.pow(2) - 4 * a * c))
        y = theta * width + x_left
    else:
        theta = (x_in - x_left) / width
        y = None
    mixed = theta * (1 - theta)
    denominator = delta + bend * mixed
    if y is None:
        y = y_left + height * (delta * theta.pow(2) + d0 * mixed) / denominator
    slope = delta.pow(2) * (d1 * theta.pow(2) + 2 * delta * mixed + d0 * (1 - theta).pow(2))
    log_det = torch.log(slope) - 2 * torch.log(denominator)
    log_det = -log_det if inverse else log_det
    return torch.where(inside, y, x), torch.where(inside, log_det, torch.zeros_like(log_det))


def _knots(unnormalised: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Knot positions ``(..., K + 1)`` from ``-bound`` to ``bound`` and the ``K`` lengths between them."""
    count = unnormalised.shape[-1]
    lengths = MIN_BIN + (1 - MIN_BIN * count) * F.softmax(unnormalised, dim=-1)
    inner = (2 * bound) * torch.cumsum(lengths, dim=-1)[..., :-1] - bound
    knots = F.pad(F.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)
    return knots, knots[..., 1:] - knots[..., :-1]


REPLACEMENTS: dict[type, type] = {
    nn.Conv1d: Conv1d,
    nn.ConvTranspose1d: ConvTranspose1d,
    attentions.MultiHeadAttention: MultiHeadAttention,
    modules.WN: WN,
    modules.ResidualCouplingLayer: ResidualCouplingLayer,
    modules.ConvFlow: ConvFlow,
    modules.Log: Log,
    models.StochasticDurationPredictor: StochasticDurationPredictor,
}


def make_static(model: nn.Module) -> nn.Module:
    """Give every Piper layer inside ``model`` the forward pass of its replacement, parameters untouched."""
    for module in model.modules():
        module.__class__ = REPLACEMENTS.get(type(module), type(module))
        for hook in module._forward_pre_hooks.values():
            if type(hook) is WeightNorm:
                hook.__class__ = PrimitiveWeightNorm
                hook.drop(module)
                module.register_forward_hook(hook.drop)
    return model

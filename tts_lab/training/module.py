"""The adversarial training step of VITS, as a Lightning module."""

import math
from collections.abc import Sequence
from dataclasses import replace

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tts_lab.devices import Device, open_device
from tts_lab.errors import UserError
from tts_lab.features import Spectrogram
from tts_lab.training.config import VALIDATED
from tts_lab.training.stages import Place, stage_of
from tts_lab.vits import products
from tts_lab.vits.alignment import maximum_path
from tts_lab.vits.discriminators import discriminators_of
from tts_lab.vits.losses import discriminator_loss, feature_loss, generator_loss, kl_loss
from tts_lab.vits.source_filter import acoustic_loss, envelopes
from tts_lab.vits.synthesizer import Batch, Generated, Synthesizer
from tts_lab.voices.checkpoints import Checkpoint

DISCRIMINATED_FRAMES = 32  # Piper's segment; a longer one is for the mel loss, whose price is small
MEL_WEIGHT = 45.0  # of the reconstruction loss (HiFi-GAN, equation 5; VITS, section 3.1)
PICTURE_WEIGHT = 6.0  # of the one discriminator of pictures, which stands for the six of audio


class VitsTraining(L.LightningModule):
    """Generator and discriminators, and one update of both.

    The update equals stock Piper's, parameter for parameter, with less work: real and generated audio go
    through the discriminators once, and the graph is cut at the generated waveform. The discriminators'
    gradients come from that pass; the generator's from the gradient with respect to the waveform, on the way
    to which no weight gradient of the discriminators is computed.
    """

    def __init__(
        self,
        header: Checkpoint,
        place: Place,
        steps_per_epoch: int,
        hardware: Device | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.header, self.place, self.config = header, place, place.config
        self.hardware, self.steps_per_epoch = hardware or open_device(place.config.accelerator), steps_per_epoch
        self.out_of_patience = False  # the stage has ended before its last step
        self.measured: dict[str, Tensor] = {}  # by the last step; where it is computed, not read
        self.let_go()
        self.model_g = Synthesizer(header.model)
        self.model_d = discriminators_of(header.model)
        products.choose(self, self.config.convolutions == "products")
        self.spectrogram = Spectrogram(header.model.spectrogram)
        self.frozen = [self._part(name).requires_grad_(False) for name in self.config.freeze]
        makers = ("enc_q.", "dec.", "emb_g.")  # of audio
        parameters = self.model_g.named_parameters()
        self.moves_sound = any(p.requires_grad for name, p in parameters if name.startswith(makers))
        self.train()  # Lightning takes modes as they are, and a frozen part must not start with dropout

    def training_step(self, batches: Sequence[Batch], _: int) -> None:
        """One update of generator and discriminators from ``config.accumulate`` batches."""
        # Every draw of a step depends on the seed, the step and the process alone: a resumed run draws the same.
        batches = self.begin(batches, self.draws(self.global_step))
        adversarial = self.is_adversarial(self.global_step)
        optimizer_g, optimizer_d = self.optimizers()
        rates = {"learning_rate_g": optimizer_g.param_groups[0]["lr"]}
        if adversarial:
            rates["learning_rate_d"] = optimizer_d.param_groups[0]["lr"]
        measured = self.hardware.compute(
            self.update, batches, optimizer_g.optimizer, optimizer_d.optimizer, adversarial, self.halted
        )
        self.halted, self.measured = measured.pop("halted"), measured
        optimizer_g.step()  # counted by Lightning as the run's; our strategy leaves it at that
        for schedule in self.lr_schedulers():
            schedule.step()
        if self.global_step % self.config.log_every == 0:
            values = self.hardware.processes.mean(torch.stack([value.cpu() for value in measured.values()]))
            self._log_on_host(dict(zip(measured, values, strict=True)) | rates | self.hardware.counters())

    def let_go(self) -> None:
        """Take steps, as at the beginning, after `update` has halted."""
        # Not a scalar: a lazy device makes a constant of one that is uploaded as 0, and so another graph.
        self.halted = torch.zeros(1).to(self.hardware.torch)

    def draws(self, step: int) -> int:
        """The seed of a step."""
        return self.config.seed * 1_000_003 + step

    def is_adversarial(self, step: int) -> bool:
        """Whether the discriminators take part: they have joined, and something that makes audio is trained."""
        return self.moves_sound and step - self.place.began >= self.config.adversarial_from

    def score(self, batch: Batch, _training: bool) -> Tensor:
        """``Synthesizer.score``; in training it is another graph than in validation, for dropout is drawn."""
        with self.hardware.autocast(self.config.precision):
            return self.model_g.score(batch)

    def update(
        self, batches: Sequence[Batch], optimizer_g, optimizer_d, adversarial: bool = True, halted: Tensor | None = None
    ) -> dict[str, Tensor]:
        """All of a step that the device computes.

        A step whose losses or gradients are not all finite is not taken: parameters and optimizers stay as they are,
        and from then on, until the host has looked (`BadNumbers`), no step is.

        Args:
            optimizer_d: of the discriminators, used only where ``adversarial``.
            halted: ``(1,)``, as the step before returned it; left out, it went well.

        Returns:
            The terms of the last batch's losses and the gradients' norms, detached scalars; infinity for a term that
            was not finite in an earlier batch. ``halted``: 1 where this step was not taken, 0 where it was.
        """
        measured: dict[str, Tensor] = {}
        for batch in batches:
            terms = self.accumulate_gradients(batch, adversarial, 1 / len(batches))
            measured = {name: term + alarm(measured[name]) if measured else term for name, term in terms.items()}
        optimizers = {"g": optimizer_g, "d": optimizer_d} if adversarial else {"g": optimizer_g}
        # All processes learn of a bad loss by the gradients that they share.
        first = next(p for p in optimizer_g.param_groups[0]["params"] if p.grad is not None)
        first.grad.add_(alarm(sum(measured.values())))
        norms = {
            f"grad_norm_{side}": self.hardware.reduce_and_clip(optimizer, self.config.clip)
            for side, optimizer in optimizers.items()
        }
        bad = torch.isfinite(sum(norms.values())).logical_not().float()
        halted = bad if halted is None else torch.maximum(bad, halted)
        for optimizer in optimizers.values():
            optimizer.found_inf = halted.squeeze()  # PyTorch's name for: leave all as it is where this is 1
            optimizer.step()
            optimizer.found_inf = None  # what is held here a lazy device would have to hand out after every step
            optimizer.zero_grad()
        return measured | norms | {"halted": halted}

    def accumulate_gradients(self, batch: Batch, adversarial: bool = True, share: float = 1.0) -> dict[str, Tensor]:
        """Forward and backward of one batch: adds ``share`` times its gradients to the parameters'.

        Returns:
            Every term of the losses, detached scalars.
        """
        with self.hardware.autocast(self.config.precision):
            generated = self.model_g(batch, round(self.config.free_running * len(batch.frames)))
            terms = self.reconstruction(generated, batch)
            loss = MEL_WEIGHT * (terms["mel"] + terms.get("source", 0)) + terms["kl"] + terms["duration"]
            if not adversarial:
                (loss * share).backward()
                return {"loss_g": loss.detach()} | {name: term.detach() for name, term in terms.items()}

            real, made = self.judged(generated, batch)
            cut = made.detach().requires_grad_()  # the graph is cut here
            scores_r, scores_g, features_r, features_g = self.model_d(real, cut)
            terms["adversarial"] = generator_loss(scores_g)[0]
            terms["feature"] = feature_loss(features_r, features_g)
            loss_d = discriminator_loss(scores_r, scores_g)

        persuade = (terms["adversarial"] + terms["feature"]) * (1 if batch.acoustics is None else PICTURE_WEIGHT)
        (pull,) = torch.autograd.grad(persuade * share, cut, retain_graph=True)
        (loss_d * share).backward(inputs=[p for p in self.model_d.parameters() if p.requires_grad])
        torch.autograd.backward([loss * share, made], [None, pull])
        totals = {"loss_g": (loss + persuade).detach(), "loss_d": loss_d.detach()}
        return totals | {name: term.detach() for name, term in terms.items()}

    def judged(self, generated: Generated, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the discriminators are shown, real and made: the beginning of each segment, or all of its picture."""
        if batch.acoustics is not None:
            return envelopes(batch.acoustics, batch.acoustics), envelopes(generated.made, batch.acoustics)
        heard = min(DISCRIMINATED_FRAMES * self.header.model.spectrogram.hop_length, batch.segment.shape[-1])
        return batch.segment[..., :heard], generated.made[..., :heard]

    def reconstruction(self, generated: Generated, batch: Batch) -> dict[str, Tensor]:
        """The terms that need no discriminator, each a scalar in float32; ``mel`` is the plain L1 distance.

        Of a source-filter decoder it is that of the envelopes, and ``source`` the distance of pitch and voice.
        """
        with torch.autocast(self.device.type, enabled=False):
            if batch.acoustics is not None:
                sound = acoustic_loss(generated.made, batch.acoustics)
            else:
                made = self.spectrogram.mel(self.spectrogram(generated.made.squeeze(1).float()))
                sound = {"mel": F.l1_loss(made, self.spectrogram.mel(batch.segment_spectrogram))}
            p = generated.posterior
            kl = kl_loss(p.z_p, p.log_q, p.mean_p, p.log_p, p.mask)
            duration = generated.duration
            if batch.shares is not None:  # rows of other processes are longer or shorter
                duration, kl = duration * batch.shares[0], kl * batch.shares[1]
            return sound | {"kl": kl, "duration": duration}

    def on_validation_epoch_start(self) -> None:
        self.validated: list[dict[str, Tensor]] = []

    def validation_step(self, batch: Batch, number: int) -> None:
        (batch,) = self.begin([batch], self.config.seed + number)  # every validation draws the same noise
        self.validated.append(self.hardware.compute(self.validate, batch))

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of ``reconstruction`` for a batch that is not trained on."""
        terms = self.reconstruction(self.model_g(batch), batch)
        return {name: terms[name.removeprefix("val_")] for name in VALIDATED}

    def on_validation_epoch_end(self) -> None:
        rows = torch.tensor([[float(terms[name].cpu()) for name in VALIDATED] for terms in self.validated])
        means = self.hardware.processes.mean(rows.mean(0))
        self._log_on_host(dict(zip(VALIDATED, means, strict=True)))

    def configure_optimizers(self):
        """AdamW for each side, with Piper's betas, and its schedule stepped once an update."""
        c = self.config
        trained = [p for p in self.model_g.parameters() if p.requires_grad]
        if not trained:
            raise UserError(f"freeze {c.freeze} leaves no parameter of the generator to train")
        optimizers = [
            self.hardware.adamw(trained, lr=c.learning_rate, betas=(0.8, 0.99), eps=1e-9),
            self.hardware.adamw(self.model_d.parameters(), lr=c.learning_rate_d, betas=(0.5, 0.9), eps=1e-9),
        ]
        return optimizers, [torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate) for optimizer in optimizers]

    def rate(self, step: int) -> float:
        """The factor on the learning rates at ``step`` of the stage."""
        c = self.config
        if step < c.warmup_steps:
            return (step + 1) / c.warmup_steps
        if c.schedule == "exponential":
            return c.lr_decay ** (step / self.steps_per_epoch)
        if c.schedule == "cosine":
            progress = (step - c.warmup_steps) / max(1, self.place.steps - c.warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return 1.0

    def train(self, mode: bool = True) -> "VitsTraining":
        super().train(mode)
        for part in self.frozen:  # a frozen part speaks as it did: no dropout
            part.eval()
        return self

    @property
    def stage(self) -> dict[str, int | bool]:
        """As ``stage_of`` reads it back from a checkpoint."""
        return {"number": self.place.number, "began": self.place.began, "ended": self.out_of_patience}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["tts_lab"] = self.header.header()
        checkpoint["stage"] = self.stage

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        if stage_of(checkpoint)["number"] == self.place.number:
            return
        # Another stage trains other parameters: optimizers, rates and patience begin anew.
        checkpoint |= {"optimizer_states": [], "lr_schedulers": []}
        patience = [key for key in checkpoint["callbacks"] if key.startswith("Ending")]
        for key in patience:
            del checkpoint["callbacks"][key]

    def begin(self, batches: Sequence[Batch], seed: int) -> list[Batch]:
        """Seed all draws, and where the host searches the alignment have it searched, with the first batch's draws."""
        paths: list[Tensor | None] = [None] * len(batches)
        if self.config.alignment == "host" and self.hardware.torch.type == "xla":
            for n, batch in enumerate(batches):
                self._seed(seed)
                score = self.hardware.compute(self.score, batch, self.training).cpu()
                found = maximum_path(score, batch.frames.cpu(), batch.phoneme_lengths.cpu())
                paths[n] = found.to(self.hardware.torch)
        self._seed(seed)
        return [replace(batch, path=path) for batch, path in zip(batches, paths, strict=True)]

    def own_seed(self, number: int) -> int:
        """``number`` with this process's rank, whose rows are not the others'."""
        processes = self.hardware.processes
        return (number * processes.world + processes.rank) % 2**63

    def _seed(self, number: int) -> None:
        """Seed all draws with ``number``, as this process's own."""
        self.hardware.seed(self.own_seed(number))

    def _log_on_host(self, values: dict[str, Tensor | float]) -> None:
        """Give Lightning tensors of the host: of a number it makes one on the device, and computes with it there."""
        self.log_dict({name: torch.as_tensor(value).cpu() for name, value in values.items()})

    def _part(self, name: str) -> nn.Module:
        try:
            return self.model_g.get_submodule(name)
        except AttributeError:
            parts = ", ".join(name for name, _ in self.model_g.named_children())
            raise UserError(f"freeze: the generator has no part {name!r}; its parts are {parts}") from None


def alarm(value: Tensor) -> Tensor:
    """Zero, or infinity where ``value`` is not finite: what has it added is not finite either."""
    # Not NaN: a step with a NaN written into it never equals itself, and would be traced forever (devices.replay).
    return torch.where(torch.isfinite(value), 0.0, math.inf)

"""LightningModule of a pretraining: the model, its moving average (the teacher), and the losses of a step."""

from __future__ import annotations

import copy
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional as F

from lgdea.errors import UsageError
from lgdea.models.freezing import copy_unfrozen
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.objectives.gather import gather
from lgdea.objectives.histograms import consistency, report_histogram
from lgdea.objectives.presence import presence_loss
from lgdea.objectives.prototypes import histogram_information, usage_entropy
from lgdea.pretraining import sharding
from lgdea.pretraining.baselines import baseline_losses
from lgdea.pretraining.batches import Batch
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.losses import (
    ImageOutputs,
    PropagatedTargets,
    TextOutputs,
    evidence_losses,
    graph_targets,
    paired_losses,
    transport_loss,
    unlinked_losses,
)
from lgdea.pretraining.objective_config import PROPAGATED_LOSSES
from lgdea.pretraining.parameter_groups import group_parameters
from lgdea.pretraining.propagation import Propagated
from lgdea.training.schedule import learning_rate

SHARDED = "lgdea_sharded"
FORMAT = "lgdea_format_version"
CHECKPOINT_FORMAT_VERSION = 2


class Pretraining(L.LightningModule):
    """Trains a model with objective ``lgdea`` or a baseline.

    Args:
        model: The model to train.
        config: The run's configuration.
        linked: Linked images per process and step; they stand first in a batch.
        evidence_targets: ``(N_R, T)`` sparse matrix of :func:`lgdea.pretraining.propagation.evidence_targets`, for an
            objective that propagates or transports.
    """

    def __init__(self, model: LgdeaModel, config: PretrainConfig, *, linked: int, evidence_targets: Any = None) -> None:
        super().__init__()
        self.model = model
        whole = config.trainer.get("strategy") == sharding.FSDP
        self.ema_model: LgdeaModel = (copy.deepcopy if whole else copy_unfrozen)(model).requires_grad_(False).eval()
        self.config = config
        self.linked = linked
        self.propagated: Propagated | None = None
        self.propagated_evidence: Any = None
        """Propagated evidence targets per image, sparse ``(N_I, T)``."""
        self.evidence_base_rate: Any = None
        """Their mean over images, ``(T,)``."""
        self.evidence_targets = evidence_targets
        self.transported: Any = None
        """Evidence ``(N_I, T)`` of :mod:`lgdea.pretraining.transport`, float16."""
        self._freeze_unused()

    def _freeze_unused(self) -> None:
        """Take unused parameters out of training: DistributedDataParallel would wait for their gradient."""
        self.model.project_tokens.requires_grad_(False)
        if self.config.objective.name == "lgdea":
            return
        used = ["image_tower", "text_tower", "project_pooled", "project_report", "log_global_scale"]
        if self.config.objective.name == "gloria":
            used += ["project_patches", "project_tokens"]
        for name, parameter in self.named_parameters():
            needed = name.startswith(tuple(f"model.{part}" for part in used))
            parameter.requires_grad_(parameter.requires_grad and needed)

    def train(self, mode: bool = True) -> Pretraining:
        """Set the mode of the model; the EMA model always stays in evaluation mode."""
        super().train(mode)
        self.ema_model.eval()
        return self

    # Steps

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Compute and log the loss of one batch."""
        if self.config.objective.name == "lgdea":
            losses = self._lgdea_losses(batch)
            weights = self.config.objective.weights.model_dump()
            weights.update({name: weights[name] * self.ramp(self.graph_step) for name in PROPAGATED_LOSSES})
            weights.update(
                {name: weights[name] * self.ramp(self.evidence_steps) for name in ("consistency", "transport")}
            )
        else:
            losses = baseline_losses(self.model, batch, self.config.objective, self.linked)
            weights = dict.fromkeys(losses, 1.0)
        total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        self.log_dict({f"loss/{name}": value.detach() for name, value in losses.items()})
        self.log("loss", total.detach(), prog_bar=True)
        return total

    def _lgdea_losses(self, batch: Batch) -> dict[str, Tensor]:
        objective, scale = self.config.objective, self.model.global_logit_scale
        text = self._text_outputs(batch)
        with_prototypes = self.global_step >= self.prototype_step
        losses = evidence_losses(
            text, objective, temperature=self.config.model.evidence_temperature, with_prototypes=with_prototypes
        )
        self.log("prototype_usage", usage_entropy(text.assignments.detach()))
        if "views" not in batch:
            return losses
        images = self._image_outputs(self.model, batch["views"], text.phrases)
        linked, unlinked = self._split_linked(images)
        losses |= paired_losses(text, linked, objective, scale=scale)
        self.log("image_information", histogram_information(linked.histograms.detach()))
        if len(batch["image_rows"]):
            teacher = self._teacher_outputs(batch["clean"], text.phrases)
            losses["consistency"] = self._consistency_loss(unlinked, teacher)
            if self.transported is not None:
                losses["transport"] = transport_loss(unlinked, self._transported_targets(batch), objective)
            if self.propagated is not None:
                targets = self._propagated_targets(batch, teacher)
                losses |= unlinked_losses(text, unlinked, targets, objective, scale=scale)
        return losses

    def _text_outputs(self, batch: Batch) -> TextOutputs:
        model = self.model
        z = model.forward_evidence(batch["phrase_ids"], batch["phrase_mask"])
        local = model.forward_text(batch["report_ids"], batch["report_mask"])["pooled"]
        reports = torch.cat([gather(local[: self.linked]), gather(local[self.linked :])])
        temperature = self.config.model.evidence_temperature
        p = model.prototypes.assign(z, temperature)
        mine = batch["unit_phrase"]
        return TextOutputs(
            phrases=z,
            assignments=p,
            prototypes=model.prototypes.weight,
            histograms=report_histogram(p[mine], batch["unit_weight"], batch["unit_owner"], len(reports)),
            reports=reports,
            report_histograms=model.prototypes.assign(reports, temperature),
            report_logits=model.pooled_logits(reports, z),
            status=batch["status"],
            overlap=batch["overlap"],
        )

    def _image_outputs(self, model: LgdeaModel, views: Tensor, phrases: Tensor) -> ImageOutputs:
        out = model.forward_image(views)
        pooled_logits = model.pooled_logits(out["pooled"], phrases)
        return ImageOutputs(
            out["pooled"], model.image_histogram(out), model.presence_logits(out, phrases), pooled_logits
        )

    def _split_linked(self, images: ImageOutputs) -> tuple[ImageOutputs, ImageOutputs]:
        """Split into linked and unlinked images, each gathered over all processes."""
        tensors = (images.pooled, images.histograms, images.logits, images.pooled_logits)
        linked = ImageOutputs(*(gather(t[: self.linked]) for t in tensors))
        return linked, ImageOutputs(*(gather(t[self.linked :]) for t in tensors))

    @torch.no_grad()
    def _teacher_outputs(self, images: Tensor, phrases: Tensor) -> ImageOutputs:
        """Outputs of the EMA model for the unlinked images without augmentation, over all processes."""
        out = self._image_outputs(self.ema_model, images, phrases)
        return ImageOutputs(*(gather(t) for t in (out.pooled, out.histograms, out.logits, out.pooled_logits)))

    def _consistency_loss(self, student: ImageOutputs, teacher: ImageOutputs) -> Tensor:
        """Distance of an augmented view's evidence and histogram from the teacher's."""
        probability = teacher.logits.sigmoid()
        evidence = presence_loss(
            student.logits, probability, torch.ones_like(probability), balance=self.config.objective.balance
        )
        return evidence + consistency(student.histograms, teacher.histograms)

    def _transported_targets(self, batch: Batch) -> Tensor:
        """Take the batch's unlinked images and phrases (V, U) out of the transported evidence."""
        rows, columns = batch["image_rows"].cpu().numpy(), batch["phrases"].cpu().numpy()
        return self._on_device(self.transported[rows][:, columns])

    def _on_device(self, array: Any) -> Tensor:
        """Copy floats to the device; from pinned memory, so that the program need not wait for the GPU's other work."""
        tensor = torch.as_tensor(array, dtype=torch.float32)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def _propagated_targets(self, batch: Batch, teacher: ImageOutputs) -> PropagatedTargets:
        """Take the batch's rows and phrases out of the propagated targets of the whole corpus."""
        propagated, rows = self.propagated, batch["image_rows"].cpu().numpy()
        reports = batch["report_rows"].cpu().numpy()
        assert propagated is not None
        columns, tensor = batch["phrases"].cpu().numpy(), self._on_device
        confidence = tensor(propagated.image_weight[rows])
        evidence = tensor(self.propagated_evidence[rows][:, columns].toarray())
        base_rate = tensor(self.evidence_base_rate[columns])
        return PropagatedTargets(
            image_histograms=tensor(propagated.image_histograms[rows]),
            image_weight=confidence,
            evidence=graph_targets(teacher.logits, evidence, base_rate, confidence),
            report_histograms=tensor(propagated.report_histograms[reports]),
            report_weight=tensor(propagated.report_weight[reports]),
            links=tensor(propagated.links[rows][:, reports].toarray()),
        )

    # Stages

    @property
    def evidence_steps(self) -> int:
        """Steps of the first stage; only ``lgdea`` has one."""
        lgdea = self.config.objective.name == "lgdea"
        return self.config.step_at_fraction(self.config.schedule.evidence_share) if lgdea else 0

    @property
    def prototype_step(self) -> int:
        """The step before which the prototypes are placed: half way through the first stage."""
        return self.evidence_steps // 2

    @property
    def graph_step(self) -> int:
        """The step before which the first graph is made."""
        return max(self.config.step_at_fraction(self.config.graph.first_share), self.evidence_steps)

    def ramp(self, start: int) -> float:
        """Factor of a loss that rises from 0 at step ``start`` to 1."""
        length = max(1, self.config.step_at_fraction(self.config.schedule.ramp_share))
        return min(1.0, max(0.0, (self.global_step + 1 - start) / length))

    def set_propagated(self, propagated: Propagated) -> None:
        """Use these links as the unlinked items' targets from now on."""
        self.propagated = propagated
        self.propagated_evidence = propagated.propagate_evidence(self.evidence_targets)
        self.evidence_base_rate = np.asarray(self.propagated_evidence.mean(axis=0)).ravel()

    def place_prototypes(self, phrases: Tensor, weights: Tensor) -> None:
        """Put the prototypes on the k-means centres of phrase embeddings, so that none starts without a member.

        Args:
            phrases: ``(T, D)`` unit embeddings of the corpus's phrases.
            weights: ``(T,)`` how often each is stated.
        """
        count = self.model.prototypes.weight.shape[0]
        points = phrases.float().cpu().numpy()
        clusters = min(count, len(points))
        means = KMeans(clusters, n_init=2, random_state=self.config.seed)
        means.fit(points, sample_weight=weights.cpu().numpy())
        centres = torch.as_tensor(means.cluster_centers_, dtype=torch.float32, device=self.device)
        if clusters < count:  # fewer phrases than prototypes: the others start beside them
            extra = centres[torch.arange(count - clusters, device=self.device) % clusters]
            centres = torch.cat([centres, extra + 0.1 * torch.randn_like(extra)])
        with torch.no_grad():
            for model in (self.model, self.ema_model):
                model.prototypes.weight.copy_(F.normalize(centres, dim=-1))

    # Several devices

    def configure_model(self) -> None:
        """Shard the towers, also those of the EMA model, where ``trainer.strategy`` is ``fsdp``."""
        mesh: Any = self.device_mesh
        if mesh is not None and not any(map(sharding.is_sharded, self.parameters())):
            for model in (self.model, self.ema_model):
                sharding.shard_towers(model, mesh["data_parallel"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the checkpoint's format, and by which names the optimiser's state is kept."""
        checkpoint[FORMAT] = CHECKPOINT_FORMAT_VERSION
        checkpoint[SHARDED] = self.device_mesh is not None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse an older format, and what would give weights the optimiser state of others.

        A sharded run's optimiser state is numbered by the model's order, that of others by its own groups. The first
        can be taken up by any strategy, the second cannot by a sharded one.

        Raises:
            UsageError: The checkpoint has another format, or a sharded run was to take up one that was not.
        """
        version = checkpoint.get(FORMAT, 1)
        if version != CHECKPOINT_FORMAT_VERSION:
            raise UsageError(
                f"the run's checkpoint has format version {version}, this lgdea resumes {CHECKPOINT_FORMAT_VERSION}",
                remedy="finish the run with the lgdea that began it (see env.json), or start a new run",
            )
        if self.device_mesh is not None and not checkpoint.get(SHARDED, False):
            raise UsageError(
                "a run that was begun without trainer.strategy=fsdp cannot be finished with it",
                remedy="go on with the strategy that it had, or start a new run",
            )

    def on_after_backward(self) -> None:
        """Average the gradients of what is not sharded."""
        if self.device_mesh is not None:
            sharding.average_gradients(self.parameters())

    # Optimiser

    def configure_optimizers(self) -> Any:
        """AdamW without decay of biases, norms, scales and position embeddings; warm-up, then cosine."""
        settings, model = self.config.optimizer, self.model
        towers = [(model.image_tower, self.config.image.lr_scale), (model.text_tower, self.config.text.lr_scale)]
        groups = group_parameters([p for p in self.parameters() if p.requires_grad], towers, settings)
        fused = self.config.speed.fused_optimizer
        fused = self.device.type == "cuda" and not self._scales_gradients if fused is None else fused
        optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)
        schedule = self.config.schedule
        warmup = self.config.step_at_fraction(schedule.warmup_share)
        steps = self.config.max_steps
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate(step, steps=steps, warmup=warmup, final=schedule.final_lr_share)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def _scales_gradients(self) -> bool:
        """True in float16, whose gradients are scaled; bfloat16 has float32's range."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip as Lightning does, and also where AdamW is fused.

        Under mixed precision Lightning refuses to clip for a fused optimiser, because with float16 that would see
        scaled gradients; it also refuses with bfloat16, where nothing is scaled.
        """
        plugin = self.trainer.precision_plugin
        if self.device_mesh is not None:
            sharding.clip_gradients(self.parameters(), gradient_clip_val or 0.0)
        elif isinstance(plugin, MixedPrecision) and not self._scales_gradients:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then update the EMA model, before any callback saves or validates it."""
        super().optimizer_step(*args, **kwargs)
        self.update_ema_model()

    @torch.no_grad()
    def update_ema_model(self) -> None:
        """ema <- decay . ema + (1 - decay) . model; early on the decay is smaller, buffers are copied."""
        step = self.global_step
        decay = min(self.config.model.ema_decay, (1 + step) / (10 + step))
        if self.config.model.ema_decay == 0:
            decay = 0.0
        pairs = zip(self.ema_model.parameters(), self.model.parameters(), strict=True)
        moving = [(sharding.local_part(a), sharding.local_part(b)) for a, b in pairs if a is not b]
        targets, sources = map(list, zip(*moving, strict=True))
        torch._foreach_lerp_(targets, sources, 1 - decay)
        torch._foreach_copy_(list(self.ema_model.buffers()), list(self.model.buffers()))

"""What a run is trained towards: texts of its corpus, or target files."""

from __future__ import annotations

import logging
from functools import partial

from dftfast.distribution.samples import Samples
from dftfast.distribution.target_blend import Blend
from dftfast.distribution.targets import Human, Target
from dftfast.model.identity import embedder_hash, tokenizer_hash
from dftfast.optimise.distributed import on_rank0, rank
from dftfast.pipeline.run import Run
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)


def check_target(run: Run) -> None:
    """Refuse target files that are not there or were made for another model or embedder."""
    c = run.config
    if not c.dft.target:
        return
    blend = Blend.load(c.dft.target)
    known = blend.header
    if tokenizer_hash(run.model_folder) != known["tokenizer"]["sha256"]:
        raise UserError(
            f"dft.target: {blend} was made with the tokenizer of "
            f"{known['tokenizer']['name'] or 'the default model'}, which is not that of the model; "
            "make it with `dftfast target --model`"
        )
    if embedder_hash(c.evaluation.embedder) != known["embedder"]["sha256"]:
        raise UserError(
            f"dft.target: {blend} was made with the embedder "
            f"{known['embedder']['name'] or 'all-MiniLM-L6-v2'}; set evaluation.embedder to it"
        )
    if c.baselines.methods and not isinstance(blend.human, Samples):
        raise UserError(
            "baselines.methods: they need human texts; a target has them with --with-texts"
        )


def reference(run: Run) -> Human:
    """What discrepancies are fitted on, on the run's device."""
    c = run.config.dft
    if not c.target:
        return run.samples(run.split.train[: c.reference_texts])
    blend = on_rank0(partial(Blend.load, c.target))
    human = blend.human
    if rank() == 0:
        for warning in blend.warnings():
            log.warning("dft.target: %s", warning)
        warn_of_held_out(run, human)
    if isinstance(human, Target):
        return human.to(run.device)
    if isinstance(human, Samples):
        return Samples(human.embeddings.to(run.device), human.tokens, human.offsets, human.texts)
    return human


def warn_of_held_out(run: Run, human: Human) -> None:
    """Say how many of the texts that the run is measured with are in the target."""
    held = run.examples([*run.validation, *run.held_out])
    seen = int((human.own([example.completion for example in held]).scale > 0).sum())
    if seen:
        log.warning(
            "dft.target: %d of the %d validation and held-out texts are in the target, which "
            "flatters what is measured with them; make it of other texts (`dftfast target --part "
            "train`)",
            *(seen, len(held)),
        )

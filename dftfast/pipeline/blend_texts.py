"""What a run's blend was mixed from, as its report shows it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dftfast.data import load_corpus
from dftfast.data.split import SMALLEST_PART
from dftfast.distribution.target_blend import Blend
from dftfast.evaluation.blend_place import MOST, BlendEnds
from dftfast.optimise.distributed import on_rank0
from dftfast.pipeline.run import Run
from dftfast.pipeline.text_sets import kept_embeddings


def blend_ends(run: Run) -> BlendEnds | None:
    """The targets of `dft.target` or the corpora of `data.blend`; None where nothing is blended."""
    c = run.config
    if len(c.dft.target) > 1:
        return BlendEnds.of_targets(on_rank0(partial(Blend.load, c.dft.target)))
    if c.data.blend and len(c.data.train) > 1:
        return _of_corpora(run)
    return None


def _of_corpora(run: Run) -> BlendEnds | None:
    """Training texts of each corpus: no system was measured with them. None where they are few."""
    c = run.config.data
    weights, embeddings = {}, {}
    names = [Path(path).name for path in c.train]
    for path, name, weight in zip(c.train, names, c.blend):
        own = {document.id for document in load_corpus([path], skip_bad_lines=c.skip_bad_lines)}
        texts = [document.text for document in run.split.train if document.id in own]
        if len(texts) < SMALLEST_PART:
            return None
        name = name if names.count(name) == 1 else str(path)
        weights[name] = weight / sum(c.blend)
        embeddings[name] = kept_embeddings(run, run.embedder, texts[:MOST])
    return BlendEnds(weights, embeddings)

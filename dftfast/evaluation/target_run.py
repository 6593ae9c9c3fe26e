"""What the evaluate command does where the reference is a target file."""

from __future__ import annotations

import logging
from argparse import Namespace

import numpy as np
from tqdm import tqdm

from dftfast.distribution.target_blend import Blend
from dftfast.evaluation.blend_place import BlendEnds, places
from dftfast.evaluation.command_run import evaluate_files
from dftfast.evaluation.command_sets import embed, text_sets, tokenise
from dftfast.evaluation.matching import Draws, matched
from dftfast.evaluation.results import terminal_table, write_results
from dftfast.evaluation.suite import evaluate
from dftfast.evaluation.target_reference import TargetReference, TargetTexts
from dftfast.model.identity import embedder_hash, tokenizer_hash
from dftfast.model.pretrained import resolve_model
from dftfast.runtime.errors import UserError
from dftfast.runtime.version import __version__

log = logging.getLogger(__name__)
ASKED_OF_TEXTS = ("check", "judge", "dimensions", "detector", "corpus")


def evaluate_target(rows: dict[str, Draws], options: Namespace) -> bool:
    """Measure the draws of each system against a target or a blend of several.

    Where the files hold texts it is as if these were the reference. Returns whether all checks of
    `--check` passed.
    """
    blend = Blend.load(options.target.split(","))
    for warning in blend.warnings():
        log.warning("%s", warning)
    same_models(blend, options)
    measured = TargetTexts(blend)
    names = measured.names([row["id"] for draws in rows.values() for row in draws[0]])
    human = [{"id": name, "text": "-", "row": i} for i, name in enumerate(names)]
    options.reference = str(blend)
    if blend.samples is not None:
        texts = [text for samples in blend.samples for text in samples.texts]
        human = [h | {"text": t} for h, t in zip(human, texts)]
        ends = BlendEnds.of_targets(blend, are_reference=True) if len(blend.files) > 1 else None
        return evaluate_files(rows, human, options, ends)
    given = [name for name in ASKED_OF_TEXTS if getattr(options, name)]
    given += ["train-judge"] if "trained_judge" in options.also else []
    if given:
        raise UserError(
            f"--{given[0]}: needs the human texts, which the target does not hold; make it with "
            "--with-texts, or give them as --reference"
        )
    rows, human, notes = matched(rows, human, options.limit, options.seed)
    for note in notes:
        log.warning("%s", note)
    sets = text_sets({"human": [human], **rows}, options)
    del sets["human"]
    exclude, _ = tokenise(sets, rows, options.tokenizer)
    embed(sets, options)
    reference = TargetReference(
        measured,
        [row["row"] for row in human],
        [row["id"] for row in human],
        bandwidth=options.bandwidth,
        exclude=[*exclude, blend.header["tokenizer"]["end"]],
        rounds=options.rounds,
        seed=options.seed,
    )
    results = {
        name: evaluate(sets[name], reference, also=options.also)
        for name in tqdm(rows, desc="evaluate", unit="set")
    }
    about = _about(blend, reference, options)
    if len(blend.files) > 1:
        first = {name: np.asarray(draws[0].embeddings) for name, draws in sets.items()}
        found = places(BlendEnds.of_targets(blend), first)
        about |= {"ends": {name: place.to_json() for name, place in found.items()}}
    _show(results, about, options)
    return True


def same_models(blend: Blend, options: Namespace) -> None:
    """Take the tokenizer and the embedder that the target was made with, or refuse others."""
    for kind, named in (("tokenizer", options.tokenizer), ("embedder", options.embedder)):
        known = blend.header[kind]
        name = named or known["name"]
        found = embedder_hash(name) if kind == "embedder" else tokenizer_hash(resolve_model(name))
        if found != known["sha256"]:
            raise UserError(
                f"--{kind}: {name or 'the default'} is another one than the target was made with "
                f"({known['name'] or 'the default of its time'}, SHA-256 {known['sha256'][:12]}...)"
            )
        setattr(options, kind, name or (str(resolve_model(None)) if kind == "tokenizer" else None))
    if options.unseen_embedder and options.unseen_embedder != blend.header["unseen_embedder"]:
        raise UserError(
            f"--unseen-embedder: the target was made with {blend.header['unseen_embedder']}"
        )
    options.unseen_embedder = blend.header["unseen_embedder"]


def _about(blend: Blend, reference: TargetReference, options: Namespace) -> dict[str, object]:
    return {
        "target": str(blend),
        "texts of the target": len(reference.texts),
        "tokens": options.tokenizer,
        "embedder": options.embedder or "all-MiniLM-L6-v2",
        "second embedder": options.unseen_embedder,
        "bandwidth": reference.bandwidth,
        "rounds": options.rounds,
        "seed": options.seed,
        "version": __version__,
    }


def _show(results: dict, about: dict, options: Namespace) -> None:
    from rich.console import Console

    Console().print(terminal_table(results, options.candidate))
    for name, place in about.get("ends", {}).items():
        print(_in_words(name, place))
    print("BLEU, chrF, self-BLEU and near-duplicates, judges and pages need texts.")
    if options.out:
        print(f"figures: {write_results(options.out, results, options.candidate, about)}")


def _in_words(name: str, place: dict) -> str:
    shares = ", ".join(
        f"{100 * f['value']:.0f}% {end} ({100 * f['low']:.0f} to {100 * f['high']:.0f})"
        for end, f in place["shares"].items()
    )
    distances = "".join(f", from {end} {d:.4f}" for end, d in place["mmd2"].items())
    nearest = f"is nearest to {shares}; " if shares else ""
    return f"{name} {nearest}MMD² from the blend {place['mmd2_from_blend']:.4f}{distances}"

"""`python -m dftfast.target`: what training and evaluation need of a corpus, without its texts."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dftfast.runtime.command import ArgumentParser, run
from dftfast.runtime.errors import UserError
from dftfast.runtime.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from dftfast.data import Document
    from dftfast.distribution import Samples
    from dftfast.model.embedder import Embedder
    from dftfast.model.tokenizer import Tokenizer

log = logging.getLogger(__name__)

FEWEST = 16  # texts of a target
SHARED_BY = 10  # texts that an n-gram of a private target is in, at least


def main(arguments: Sequence[str]) -> None:
    options = make_parser().parse_args(arguments)
    if options.with_texts and options.private:
        raise UserError("--private: a target with texts is not private; leave one out")
    if options.private is not None and options.private < 2:
        raise UserError(f"--private: {options.private}; an n-gram must be in at least 2 texts")
    documents = read(options)
    print(make_target(documents, options))


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dftfast target",
        description="Make a target file of human texts: what `train --target`, `evaluate --target` "
        "and `check --target` need of them, without the texts (docs/targets.md).",
    )
    add = parser.add_argument
    add("corpora", nargs="+", metavar="CORPUS", help="files of human texts, as train takes them")
    add("--out", type=Path, required=True, metavar="FILE", help="the target file to write")
    add("--model", help="whose tokens are counted: folder or hub id; none is the default of train")
    add("--embedder", help="sentence-transformers folder or hub id; none is all-MiniLM-L6-v2")
    add("--unseen-embedder", help="a second one, for `evaluate --unseen-embedder`")
    add(
        "--part",
        choices=["all", "train"],
        default="all",
        help="train: leave out the texts that `train` holds out of the same corpus by default "
        "(default: %(default)s)",
    )
    add("--limit", type=int, help="take this many texts, chosen by the hash of their ids")
    add("--with-texts", action="store_true", help="keep the texts, too")
    add(
        "--private",
        type=int,
        nargs="?",
        const=SHARED_BY,
        metavar="TEXTS",
        help="keep nothing of a single text: means of random features, and n-grams that so many "
        f"texts have ({SHARED_BY}); for train, not for evaluate",
    )
    add("--licence", help="under which the target may be used, for its readers")
    add(
        "--i-have-permission",
        action="store_true",
        help="for texts of one author: they, or who holds their rights, agree to be imitated",
    )
    return parser


def read(options: Namespace) -> list[Document]:
    """The texts of the corpora.

    Raises:
        UserError: they are of one author, and nobody says that they agree.
    """
    from dftfast.config import Config
    from dftfast.data import load_corpus, split_corpus
    from dftfast.data.authors import only_author

    documents = load_corpus(options.corpora, limit=options.limit)
    author = only_author(options.corpora)
    if author and not options.i_have_permission:
        raise UserError(
            f"{author[0]}: every text is by {author[1]!r}; a target of one person's texts makes "
            "models that write like them: with their consent, or that of who holds their rights, "
            "--i-have-permission (docs/targets.md)"
        )
    if options.part == "train":
        shares = Config().data
        documents = split_corpus(documents, shares.validation_share, shares.held_out_share).train
    if len(documents) < FEWEST:
        raise UserError(f"{len(documents)} texts are too few for a target: take {FEWEST}")
    return documents


@dataclass(frozen=True)
class Reader:
    """What makes samples of texts."""

    tokenizer: Tokenizer
    embedder: Embedder

    def embed(self, texts: list[str]) -> Tensor:
        return self.embedder.encode(texts)

    def samples(self, texts: list[str]) -> Samples:
        from dftfast.distribution import Samples

        end = self.tokenizer.eos_ids[0]
        tokens = [[*ids, end] for ids in self.tokenizer.encode_batch(texts)]
        return Samples.of(self.embed(texts), tokens, texts)


def make_target(documents: list[Document], options: Namespace) -> str:
    """Write the target file; what there is to say of it."""
    from dftfast.distribution.private_target import PrivateTarget
    from dftfast.distribution.recovery import recovered_runs
    from dftfast.distribution.target_file import save_target
    from dftfast.distribution.targets import Target
    from dftfast.model.embedder import Embedder
    from dftfast.model.pretrained import resolve_model
    from dftfast.model.tokenizer import Tokenizer

    folder = resolve_model(options.model)
    reader = Reader(Tokenizer.from_folder(folder), Embedder(options.embedder))
    texts = [document.text for document in documents]
    samples = reader.samples(texts)
    if options.private:
        target = PrivateTarget.of(samples, options.private)
        arrays, of_texts = {}, {}
    else:
        target = Target.of(samples)
        arrays, of_texts = for_evaluation(documents, samples, reader, options)
    recovered = recovered_runs(samples, target.ngrams[3], tokens_known=not options.private)
    header = {
        **about(documents, samples, reader, options),
        **of_texts,
        "runs_recovered": recovered,
        "rules": rules(documents),
    }
    kept = samples if options.with_texts else None
    save_target(options.out, target, header, kept, arrays)
    return f"{options.out}: {len(texts):,} texts, {options.out.stat().st_size / 1e6:.1f} MB\n" + (
        "it holds the texts"
        if options.with_texts
        else f"it gives away {recovered:.1%} of their runs of 8 tokens to who knows the first "
        "two (docs/targets.md)"
    )


def for_evaluation(
    documents: list[Document], samples: Samples, reader: Reader, options: Namespace
) -> tuple[dict[str, Any], dict]:
    from dftfast.evaluation.target_reference import measured
    from dftfast.model.embedder import Embedder

    end = reader.tokenizer.eos_ids[0]
    unseen = None
    if options.unseen_embedder:
        unseen = Embedder(options.unseen_embedder).encode(samples.texts).numpy()
    return measured(
        [document.id for document in documents],
        samples.texts,
        [samples.tokens_of(i)[:-1] for i in range(len(samples))],
        [*reader.tokenizer.special_ids, end],
        unseen,
    )


def about(
    documents: list[Document], samples: Samples, reader: Reader, options: Namespace
) -> dict[str, object]:
    import numpy as np

    from dftfast.model.identity import embedder_hash, tokenizer_hash
    from dftfast.model.pretrained import resolve_model

    lengths = np.quantile(samples.lengths.numpy(), np.linspace(0, 1, 21))
    return {
        "dftfast": __version__,
        "texts": len(documents),
        "licence": options.licence,
        "private": options.private,
        "tokenizer": {
            "name": options.model,
            "sha256": tokenizer_hash(resolve_model(options.model)),
            "end": reader.tokenizer.eos_ids[0],
        },
        "embedder": {"name": options.embedder, "sha256": embedder_hash(options.embedder)},
        "unseen_embedder": options.unseen_embedder,
        "lengths": [round(float(length)) for length in lengths],
    }


def rules(documents: list[Document]) -> dict | None:
    """The rules of `check` fitted to the texts, without hashes of their runs of words.

    None for too few texts.
    """
    from dftfast.writing.fitting import FEWEST as fewest
    from dftfast.writing.fitting import fit_rules

    if len(documents) < fewest:
        log.warning("%d texts are too few to fit the rules of check to", len(documents))
        return None
    return {rule.name: rule.model_dump(mode="json") for rule in fit_rules(documents).rules}


if __name__ == "__main__":
    run(main)

"""`python -m dftfast.check`: what in texts differs from a corpus, for people and for CI."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.runtime.command import ArgumentParser, run
from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from dftfast.writing.finding_formats import Placed
    from dftfast.writing.rule import Rule


def main(arguments: Sequence[str]) -> None:
    """Exits with status 1 where there are findings of the severity of --fail-on."""
    options = make_parser().parse_args(arguments)
    if options.fit:
        fit(options)
        return
    if options.server:
        from dftfast.writing.language_server import serve

        serve(read_rules(options))
        return
    if not options.texts:
        raise UserError(
            "command line: give texts to check, or --fit a corpus, or --server (--help)"
        )
    from dftfast.writing.assertions import is_failure
    from dftfast.writing.finding_formats import FORMATS
    from dftfast.writing.known_findings import without_known, write_known

    found, count = find(options)
    if options.write_baseline:
        write_known(options.write_baseline, found)
        sys.stderr.write(f"{options.write_baseline}: {len(found)} findings are known now\n")
        return
    if options.baseline:
        found = without_known(options.baseline, found)
    page = FORMATS[options.format](found, count)
    if options.report:
        options.report.write_text(page + "\n", encoding="utf-8")
    elif page:
        print(page)
    if is_failure([placed.finding.severity for placed in found], options.fail_on):
        sys.exit(1)


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dftfast check",
        description="Findings in texts, measured against a corpus. It does not tell machines from "
        "people. Status 0: none of the severity of --fail-on; 1: some; 2: bad input.",
    )
    add = parser.add_argument
    add("texts", nargs="*", type=Path, help="files (.txt, .md, .jsonl, .csv, ...) or folders")
    add("--rules", type=Path, help="a rules file, as --fit writes it")
    add("--target", metavar="FILE", help="a target file, whose rules are fitted to its texts")
    add("--briefs", help="corpus whose briefs, by id, the rows of files were to follow")
    add(
        "--format",
        default="text",
        choices=["text", "json", "sarif", "junit", "github"],
        help="(default: %(default)s)",
    )
    add("--report", type=Path, metavar="FILE", help="write there and not to the screen")
    add(
        "--fail-on",
        default="error",
        choices=["error", "warning", "info", "never"],
        help="least severity that makes the status 1 (default: %(default)s)",
    )
    add("--baseline", type=Path, metavar="FILE", help="leave out the findings that it has")
    add("--write-baseline", type=Path, metavar="FILE", help="write all findings there as known")
    add("--fit", metavar="CORPUS", help="set the limits of all rules by human texts")
    add("--out", type=Path, default=Path("writing.yaml"), help="of --fit (default: %(default)s)")
    add(
        "--share",
        type=float,
        default=0.01,
        help="with --fit: of human texts that may fail a rule (default: %(default)s)",
    )
    add("--model-texts", metavar="FILE", help="with --fit: rows of a model, to learn phrases from")
    add("--grammar", action="store_true", help="with --fit: spelling and grammar, too (English)")
    add("--server", action="store_true", help="answer an editor (language server protocol)")
    return parser


def read_rules(options: Namespace) -> Sequence[Rule]:
    from dftfast.writing.rules_file import default_rules, load_rules, rules_of

    if options.rules and options.target:
        raise UserError("--target: it has rules, too; leave --rules out")
    if not options.target:
        return load_rules(options.rules) if options.rules else default_rules()
    from dftfast.distribution.target_file import load_target

    rules = load_target(options.target).header.get("rules")
    if rules is None:
        raise UserError(f"{options.target}: made of fewer texts than rules can be fitted to")
    return rules_of(rules, options.target)


def find(options: Namespace) -> tuple[list[Placed], int]:
    """The findings in all texts, and how many texts there are."""
    from dftfast.data.load import load_corpus
    from dftfast.writing.checked_texts import read_texts
    from dftfast.writing.checking import check
    from dftfast.writing.finding_formats import Placed

    rules, briefs = read_rules(options), {}
    if options.briefs:
        briefs = {each.id: each for each in load_corpus([options.briefs], needs_text=False)}
    found, count = [], 0
    for source in read_texts(options.texts, briefs):
        count += 1
        try:
            found += [Placed(source, each) for each in check(source.text, rules, source.brief)]
        except UserError as error:
            raise UserError(f"{source.path}: {error}") from None
    return found, count


def fit(options: Namespace) -> None:
    """Write the rules that a corpus sets, and print how many human texts fail each."""
    from dftfast.data.load import load_corpus
    from dftfast.writing.fitting import fit_rules
    from dftfast.writing.rules_file import save_rules

    if not 0 < options.share < 0.5:
        raise UserError(f"--share: {options.share} is not between 0 and 0.5")
    documents = load_corpus([options.fit])
    model_texts = []
    if options.model_texts:
        model_texts = [each.text for each in load_corpus([options.model_texts])]
    fitted = fit_rules(documents, options.share, model_texts, options.grammar)
    save_rules(options.out, fitted.rules, {"texts": len(documents), "share": options.share})
    print(f"share of {fitted.texts} held-out human texts that fail each rule:")
    for name, rate in fitted.rates.items():
        print(f"  {name:<20}{rate:.2%}")
    print(f"  {'any error':<20}{fitted.errors:.2%}")
    for name in fitted.turned_off:
        print(f"  {name:<20}off: more than {options.share:.1%} fail it at every limit")
    print(f"rules: {options.out}")


if __name__ == "__main__":
    run(main)

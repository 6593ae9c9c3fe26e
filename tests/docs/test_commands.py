"""Commands, keys and code in the pages are such as the programs take."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import shlex

import pytest
import yaml
from markdown_pages import FENCE, ROOT, SPAN, Block, blocks, pages

from dftfast.config.command_line import parse_command_line
from dftfast.config.layers import load_config
from dftfast.config.schema import Config, keys
from dftfast.runtime.command import ArgumentParser
from dftfast.runtime.errors import UserError

HISTORY = {"CHANGELOG.md", "benchmarks/results/README.md"}
TEXTS = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in pages()
    if str(page.relative_to(ROOT)) not in HISTORY
}
SHELL = ("", "bash", "sh")
COMMAND = re.compile(
    r"(?:-m dftfast\.|(?<![\w./-])dftfast )"
    r"(train|generate|evaluate|prepare|push|plan|check|target|write|config)\b(.*)"
)
OTHER = re.compile(r"^(?:[|>&;].*|#|\d>.*)$")  # where the arguments of a command end
KEY = re.compile(rf"(?:--)?((?:{'|'.join(Config.model_fields)})\.[a-z_]+)(?:=(\S+))?")


def commands() -> list[tuple[str, str, list[str]]]:
    """(where, command, arguments) of every line that calls this package."""
    found = []
    for name, text in TEXTS.items():
        for block in blocks(text):
            if block.language not in SHELL:
                continue
            for line in block.text.replace("\\\n", " ").splitlines():
                if call := COMMAND.search(line):
                    found.append((f"{name}:{block.line}", call[1], arguments(call[2])))
    return found


def arguments(text: str) -> list[str]:
    words = shlex.split(text)
    end = next((i for i, word in enumerate(words) if OTHER.match(word)), len(words))
    return words[:end]


class Parsed(Exception):
    """Nothing was wrong with the arguments."""


@pytest.fixture
def parse(monkeypatch):
    """Do what a command does with its arguments, and no more."""

    plain = argparse.ArgumentParser

    def ended(parse_all):
        def parse_and_stop(parser, given=None, namespace=None):
            parse_all(parser, given, namespace)
            raise Parsed

        return parse_and_stop

    def known(parser, given=None, namespace=None):
        options, rest = plain.parse_known_args(parser, given, namespace)
        if parser.prog != "dftfast plan":
            return options, rest
        parse_command_line(rest)
        raise Parsed

    def call(command: str, given: list[str]) -> None:
        if command in ("train", "config"):
            # files of a configuration are the reader's own
            parse_command_line([each for each in given if not each.startswith("--config=")])
            return
        module = f"dftfast.{command}" + (".__main__" if command == "prepare" else "")
        with pytest.raises(Parsed):
            importlib.import_module(module).main(given)

    monkeypatch.setattr(ArgumentParser, "parse_args", ended(plain.parse_args))
    intermixed = ended(plain.parse_intermixed_args)
    monkeypatch.setattr(ArgumentParser, "parse_intermixed_args", intermixed)
    monkeypatch.setattr(ArgumentParser, "parse_known_args", known)
    return call


@pytest.mark.parametrize(("where", "command", "given"), commands(), ids=lambda each: str(each)[:60])
def test_commands_are_understood(parse, where, command, given):
    parse(command, given)


def test_a_wrong_command_is_seen(parse):
    with pytest.raises(UserError):
        parse("train", ["--dft.phase=3"])
    with pytest.raises(UserError):
        parse("generate", ["--promts", "x", "--out", "y"])
    with pytest.raises(UserError):
        parse("plan", ["--cards", "1", "--dft.phase=3"])
    assert arguments(" --a 'b c' > file  # for later") == ["--a", "b c"]
    assert len(commands()) > 8


@pytest.mark.parametrize("name", TEXTS)
def test_keys_are_those_of_the_configuration(name):
    spans = [code for _, code in SPAN.findall(FENCE.sub("", TEXTS[name]))]
    for found in filter(None, map(KEY.fullmatch, spans)):
        key, value = found.groups()
        assert key in keys(), f"{key} is no key"
        if value and value.isascii() and not value.isupper():
            load_config(overrides=[(key, value)])


def fenced(*languages: str) -> list[tuple[str, Block]]:
    return [
        (name, block)
        for name, text in TEXTS.items()
        for block in blocks(text)
        if block.language in languages
    ]


@pytest.mark.parametrize(("name", "block"), fenced("python"))
def test_python_is_valid_and_imports_what_there_is(name, block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dftfast"):
            module = importlib.import_module(node.module or "")
            missing = [each.name for each in node.names if not hasattr(module, each.name)]
            assert not missing, f"{name}: {node.module} has no {missing}"


@pytest.mark.parametrize(("name", "block"), fenced("json", "yaml"))
def test_data_is_valid(name, block):
    if block.language == "yaml":
        yaml.safe_load(block.text)
    else:
        for line in block.text.splitlines():
            json.loads(line)


@pytest.mark.parametrize("page", ["docs/distribution.md", "docs/kernels/README.md"])
def test_code_runs(page, capsys):
    for block in blocks(TEXTS[page]):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), {})
    assert capsys.readouterr().out

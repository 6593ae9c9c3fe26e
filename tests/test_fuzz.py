"""Mutated input files give a clean error or a correct load: never another exception, a hang or a
huge allocation.

Each case is a function of its number alone, so a failure is repeated by running that number again.
"""

from __future__ import annotations

import gzip
import json
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from byte_model import save_byte_model
from families import save_random_model
from mutations import mutated_bytes, mutated_json, mutated_lines, mutated_safetensors
from safetensors import SafetensorError

from dftfast.config import load_config
from dftfast.data import load_corpus, prompt_messages
from dftfast.data.generations import read_generations
from dftfast.model.adapter import Adapter
from dftfast.model.config import ModelConfig
from dftfast.model.policy import Policy
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import load_decoder
from dftfast.optimise.checkpoint import read_state, write_state
from dftfast.runtime.errors import UserError

ROOM = 2 << 30  # bytes of address space that a case may take beyond what is taken already


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Every kind of file, whole."""
    root = tmp_path_factory.mktemp("originals")
    save_random_model("qwen3", root / "model")
    save_random_model("qwen3", root / "sharded", max_shard_size="40KB")
    policy = Policy(root / "model", torch.float32)
    policy.begin_phase(2, 4, seed=0)
    policy.end_phase().save(root / "adapter", root / "model")
    write_state(root / "checkpoint", {"0.master": torch.ones(3)}, {"step": 1, "inputs": "a"})
    about = {"title": "about", "outline": ["a"], "style": "plain"}
    rows = [{"id": str(i), "text": f"words and words {i}", **about} for i in range(4)]
    rows += [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    ]
    rows += [{"prompt": "p", "completion": "c"}]
    shares = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    rows += [{"conversations": shares}, {"instruction": "i", "input": "", "output": "o"}]
    (root / "corpus.json").write_text(json.dumps(rows))
    (root / "corpus.csv").write_text('prompt,completion\np,"c, d"\nq,"e\nf"\n')
    save_byte_model(root / "bytes")
    (root / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sampler = {"temperature": 1.0, "seed": 0}
    row = {"id": "1", "prompt": "p", "text": "t", "token_ids": [1, 2], "finish_reason": "stop"}
    row |= {"sampler": sampler, "model": "m"}
    (root / "generations.jsonl").write_text(json.dumps(row) + "\n")
    (root / "run.yaml").write_text(load_config("default").to_yaml())
    return root


def load_model(folder: Path) -> None:
    decoder = load_decoder(folder, torch.float32)
    assert all(parameter.shape.numel() < 1 << 20 for parameter in decoder.parameters())


def load_adapter(folder: Path) -> None:
    policy = Policy(folder.parent / "model", torch.float32)
    adapter = Adapter.load(folder)
    adapter.check(policy.decoder)
    policy.adapters.append(adapter)
    policy.merge_weights()


def load_documents(path: Path) -> None:
    for document in load_corpus([path], skip_bad_lines=path.suffix == ".gz"):
        assert document.text.strip()
        prompt_messages(document)[-1]["content"].encode()


def load_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    tokenizer.check_fits(ModelConfig.from_folder(folder).vocab_size)
    ids = tokenizer.chat([{"role": "user", "content": "Write a note."}])
    assert isinstance(tokenizer.decode([*ids, *tokenizer.encode("It is.")]), str)


def load_checkpoint(folder: Path) -> None:
    try:
        read_state(folder)
    except (OSError, ValueError, SafetensorError) as wrong:  # Checkpoints.load takes it for damage
        raise UserError(str(wrong)) from None


def load_yaml(path: Path) -> None:
    load_config(files=[path])


# kind -> (what is loaded, the file of it that is changed, how it is changed, how it is loaded)
KINDS: dict[str, tuple[str, str, Callable, Callable]] = {
    "safetensors": ("model", "model.safetensors", mutated_safetensors, load_model),
    "config": ("model", "config.json", mutated_json, load_model),
    "generation config": ("model", "generation_config.json", mutated_json, load_model),
    "index": ("sharded", "model.safetensors.index.json", mutated_json, load_model),
    "adapter": ("adapter", "adapter_model.safetensors", mutated_safetensors, load_adapter),
    "adapter config": ("adapter", "adapter_config.json", mutated_json, load_adapter),
    "checkpoint": ("checkpoint", "state.safetensors", mutated_safetensors, load_checkpoint),
    "checkpoint sums": ("checkpoint", "SHA256SUMS", mutated_bytes, load_checkpoint),
    "corpus": ("corpus.jsonl", "", None, load_documents),
    "generations": ("generations.jsonl", "", None, read_generations),
    "packed corpus": ("corpus.jsonl", "", None, load_documents),
    "yaml": ("run.yaml", "", mutated_bytes, load_yaml),
    "tokenizer": ("bytes", "tokenizer.json", mutated_json, load_tokenizer),
    "tokenizer config": ("bytes", "tokenizer_config.json", mutated_json, load_tokenizer),
    "table": ("corpus.csv", "", mutated_bytes, load_documents),
    "array": ("corpus.json", "", mutated_json, load_documents),
}


def case(number: int, originals: Path, work: Path) -> bool:
    """Load one mutated file. Returns whether it was refused."""
    rng = random.Random(number)
    kind = list(KINDS)[number % len(KINDS)]
    name, file, mutate, load = KINDS[kind]
    source, target = originals / name, work / name
    if file:
        shutil.copytree(source, target, copy_function=lambda a, b: Path(b).symlink_to(a))
        changed = target / file
        changed.unlink()
        changed.write_bytes(mutate(rng, (source / file).read_bytes()))
    else:
        content = (mutate or mutated_lines)(rng, source.read_bytes())
        if kind == "packed corpus":
            target = target.with_name("corpus.jsonl.gz")
            content = gzip.compress(content)
            content = content if rng.random() < 0.3 else mutated_bytes(rng, content)
        target.write_bytes(content)
    try:
        load(target)
        return False
    except UserError as error:
        assert str(error)
        return True
    finally:
        shutil.rmtree(target) if target.is_dir() else target.unlink()


@pytest.mark.parametrize(
    "numbers",
    [range(300), pytest.param(range(300, 3000), marks=pytest.mark.slow)],
    ids=["300 files", "2700 more"],
)
def test_mutated_files_are_refused_or_loaded(numbers, originals, tmp_path):
    # the base of adapters, when no model is mutated
    (tmp_path / "model").symlink_to(originals / "model")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    refused = dict.fromkeys(KINDS, 0)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, limits[1]))
    try:
        for number in numbers:
            kind = list(KINDS)[number % len(KINDS)]
            work = tmp_path / str(number)
            work.mkdir()
            if kind.startswith("adapter"):
                (work / "model").symlink_to(originals / "model")
            try:
                refused[kind] += case(number, originals, work)
            except Exception as error:
                raise AssertionError(
                    f"case {number} ({kind}): {type(error).__name__}: {str(error)[:300]}"
                ) from error
            shutil.rmtree(work)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert all(refused.values())  # the mutations do reach the checks


def test_whole_files_load(originals):
    for name, _, _, load in KINDS.values():
        load(originals / name)


@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "long.jsonl"])
def test_a_packed_or_endless_line_is_refused_before_it_is_in_memory(tmp_path, name):
    row = json.dumps({"title": "a", "text": "b"}) + "\n"
    opened = gzip.open if name.endswith("gz") else open
    with opened(tmp_path / name, "wt") as file:
        for _ in range(40):
            file.write(row * 20_000 if name.endswith("gz") else "x" * 1_000_000)
    with pytest.raises(UserError, match=r"times its size|longer than"):
        load_corpus([tmp_path / name])


def test_a_short_configuration_that_stands_for_a_huge_one_is_refused(tmp_path):
    lines = ["a: &a [x, x]"] + [
        f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefghijklmnopqrstu", "bcdefghijklmnopqrstuv")
    ]
    (tmp_path / "run.yaml").write_text("data:\n  train: [&a [x], *a]\n")
    with pytest.raises(UserError, match="alias"):
        load_config(files=[tmp_path / "run.yaml"])
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match="alias"):
        load_config(files=[tmp_path / "run.yaml"])


def test_no_code_of_a_model_folder_runs(originals, tmp_path):
    """Neither pickled weights, nor an embedder's own classes, nor attributes in a chat template."""
    from dftfast.model.chat_template import compile_template, render
    from dftfast.model.embedder import Embedder

    shutil.copytree(originals / "model", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(UserError, match="no such weight file"):
        load_decoder(tmp_path / "model")
    embedder = tmp_path / "embedder"
    embedder.mkdir()
    (embedder / "evil.py").write_text("raise SystemExit('this has run')")
    (embedder / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "evil.Module"}])
    )
    with pytest.raises(UserError, match=r"evil\.Module"):
        Embedder(str(embedder), "cpu")
    with pytest.raises(UserError):
        render(compile_template("{{ ''.__class__.__mro__[1].__subclasses__() }}", "here"))

"""The result of a run goes to the hub and comes back as the same model, by huggingface_hub."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import transformers
from hub_server import Hub

CARD = "---\ntags: [dftfast]\n---\n# A writer\n\nvllm serve FOLDER\n"
FETCH = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], local_dir=sys.argv[2])
"""


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def run(tmp_path):
    """What a finished run leaves, as far as it goes up."""
    folder = tmp_path / "a run's folder"
    config = transformers.Qwen3Config(
        vocab_size=400, hidden_size=64, intermediate_size=96, num_hidden_layers=2, head_dim=16
    )
    model = transformers.Qwen3ForCausalLM(config)
    model.save_pretrained(folder / "merged", max_shard_size="100KB")
    (folder / "merged" / "README.md").write_text(CARD)
    (folder / "merged" / ".lock").write_text("")
    (folder / "results.json").write_text("{}")
    (folder / "report.html").write_text("<p>texts</p>")
    return folder


def python(hub, *arguments, token="hf_right"):
    """A process of its own, for the client reads its surroundings when it is imported."""
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    env["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = env["HF_HUB_OFFLINE"] = "0"
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def push(hub, *arguments, token="hf_right"):
    return python(hub, "-m", "dftfast.push", *arguments, token=token)


def refusal(done) -> str:
    assert done.returncode == 2 and done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    return lines[0]


def test_a_result_goes_up_and_comes_back(hub, run, tmp_path):
    done = push(hub, run, "someone/writer")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/someone/writer"
    assert hub.private["someone/writer"]
    assert hub.messages == ["merged of a run of dftfast, with its report"]
    back = tmp_path / "back"
    fetched = python(hub, "-c", FETCH, "someone/writer", back)
    assert fetched.returncode == 0, fetched.stderr
    there = {path.name for path in (run / "merged").iterdir()} - {".lock"}
    files = {path.name for path in back.iterdir() if path.is_file()}
    assert files == there | {"report.html", "results.json"}
    for path in (run / "merged").glob("*.safetensors"):
        assert (back / path.name).read_bytes() == path.read_bytes()
    assert "vllm serve someone/writer" in (back / "README.md").read_text()
    transformers.AutoModelForCausalLM.from_pretrained(back)


def test_weights_of_before_go_and_other_files_stay(hub, run):
    before = {"old-00001-of-00009.safetensors": b"1", "writer.gguf": b"2", "LICENSE": b"3"}
    hub.repositories["someone/writer"], hub.private["someone/writer"] = dict(before), True
    assert push(hub, run, "someone/writer", "--no-report").returncode == 0
    files = hub.repositories["someone/writer"]
    assert {"writer.gguf", "LICENSE", "config.json"} <= set(files)
    assert not {"old-00001-of-00009.safetensors", "report.html", "results.json"} & set(files)


def test_texts_of_the_corpus_are_not_published_unasked(hub, run):
    hub.repositories["someone/writer"], hub.private["someone/writer"] = {}, False
    assert "shows texts of the corpus" in refusal(push(hub, run, "someone/writer"))
    assert hub.repositories["someone/writer"] == {}
    assert push(hub, run, "someone/writer", "--public").returncode == 0
    assert "report.html" in hub.repositories["someone/writer"]


def test_what_cannot_go_up_is_one_line(hub, run):
    assert "hf auth login" in refusal(push(hub, run, "someone/writer", token="hf_wrong"))
    hub.status = 403
    assert "write access" in refusal(push(hub, run, "someone/writer"))
    hub.status = 418
    assert "did not take it" in refusal(push(hub, run, "someone/writer"))
    assert "OWNER/NAME" in refusal(push(hub, run, "writer"))
    assert "no adapter/" in refusal(push(hub, run, "someone/writer", "--part=adapter"))
    (run / "merged" / "README.md").unlink()
    assert "not finished" in refusal(push(hub, run, "someone/writer"))
    assert not hub.repositories

"""llama.cpp's own converter and server read `merged/`: same prompt, sampler and logits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import urllib.request

import pytest
import torch
import transformers

from dftfast.model.policy import Policy
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer

pytestmark = pytest.mark.slow

# the source of these bindings holds the converter of its llama.cpp, which is in no wheel
SOURCE = (
    "llama-cpp-python==0.3.36 "
    "--hash=sha256:832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
)
MESSAGES = [{"role": "user", "content": "Write a note to the neighbours about the fence. 12 €."}]


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """The default model after a phase, with a temperature in its final norm."""
    base, folder = resolve_model(), tmp_path_factory.mktemp("export") / "merged"
    policy = Policy(base, torch.float32)
    policy.temperature = 0.9
    torch.manual_seed(0)
    for weights in policy.begin_phase(4, 4.0, 0):
        weights.data.add_(torch.randn_like(weights) * 0.02)
    policy.end_phase()
    policy.save(folder, Tokenizer.from_folder(base))
    return folder


@pytest.fixture(scope="module")
def converter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama.cpp")
    (folder / "requirements.txt").write_text(SOURCE)
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:all:"]
    pip += ["--require-hashes", "-r", folder / "requirements.txt", "-d", folder]
    env = {**os.environ, "PIP_CONSTRAINT": os.devnull}
    if subprocess.run(pip, env=env).returncode:
        pytest.skip("PyPI does not give the source of llama-cpp-python")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("*/vendor/llama.cpp/convert_hf_to_gguf.py"))


@pytest.fixture(scope="module", params=["f32", "bf16"])
def server(request, merged, converter, tmp_path_factory):
    """(llama.cpp's server on the converted file, the precision that it computes in)."""
    xllamacpp = pytest.importorskip("xllamacpp")
    file = tmp_path_factory.mktemp("gguf") / "writer.gguf"
    command = [converter, merged, "--outfile", file, "--outtype", request.param]
    subprocess.run([sys.executable, *command], check=True)
    options = xllamacpp.CommonParams()
    options.model.path, options.n_ctx, options.n_parallel = str(file), 512, 1
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.use_jinja, options.warmup = True, False
    if request.param == "f32":  # attention too, which is 16 bits wide unless told otherwise
        options.flash_attn_type = 0
        options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return xllamacpp.Server(options), request.param


def ask(server, path: str, body: dict | None = None) -> dict:
    request = urllib.request.Request(
        server.listening_address + path,
        data=json.dumps(body).encode() if body else None,
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_prompt_and_sampler_are_those_of_the_run(server, merged):
    trained = Tokenizer.from_folder(merged)
    text = ask(server[0], "/apply-template", {"messages": MESSAGES})["prompt"]
    assert text == trained.render_chat(MESSAGES)
    wanted = {"content": text, "add_special": False, "parse_special": True}
    assert ask(server[0], "/tokenize", wanted)["tokens"] == trained.chat(MESSAGES)
    found = ask(server[0], "/props")["default_generation_settings"]["params"]
    sampler = {name: found[name] for name in ("temperature", "top_p", "top_k", "min_p")}
    assert sampler == {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
    assert found["repeat_penalty"] == 1.0


def test_log_probabilities_are_those_of_the_run(server, merged):
    server, precision = server
    prompt = Tokenizer.from_folder(merged).chat(MESSAGES)
    wanted = {"prompt": prompt, "n_predict": 24, "temperature": 0.0, "n_probs": 4}
    steps = server.handle_completions(wanted)["choices"][0]["logprobs"]["content"]
    tokens = [*prompt, *(step["id"] for step in steps)]
    model = transformers.AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    ours = logits[len(prompt) - 1 : -1].log_softmax(-1)
    error = max(
        abs(ours[i, top["id"]].item() - top["logprob"])
        for i, step in enumerate(steps)
        for top in step["top_logprobs"]
    )
    assert len(steps) > 8 and error < {"f32": 1e-3, "bf16": 0.15}[precision]
    if precision == "f32":
        assert ours.argmax(-1).tolist() == [step["id"] for step in steps]

"""Detectors: curvature against its definition, an HTTP API that misbehaves, shares beside those of
human texts."""

import json

import numpy as np
import pytest
import torch
from byte_model import save_byte_model
from chat_server import ChatServer

from dftfast.endpoint import AnswerCache, Limits
from dftfast.evaluation import Reference
from dftfast.evaluation.detectors import (
    CurvatureDetector,
    Detected,
    HTTPDetector,
    detect,
    detector_estimate,
    detector_record,
)
from dftfast.runtime.errors import UserError

FAST = Limits(concurrency=4, timeout=4.0, attempts=3, first_wait=0.01, longest_wait=0.1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_byte_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def other(tmp_path_factory, model):
    """Another model with the same tokens and a padded head."""
    import transformers

    folder = tmp_path_factory.mktemp("other")
    save_byte_model(folder)
    changed = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(5)
    with torch.no_grad():
        changed.model.norm.weight.mul_(0.3 + torch.rand_like(changed.model.norm.weight))
    changed.resize_token_embeddings(272)
    changed.save_pretrained(folder)
    return folder


def detector(tmp_path, sets, *models, cache="c.jsonl"):
    return CurvatureDetector(
        "zero-shot",
        [str(m) for m in models],
        sets(40, 9).texts,
        AnswerCache(tmp_path / cache),
        "cpu",
    )


@pytest.mark.parametrize("pair", [False, True])
def test_curvature_is_that_of_its_definition(pair, model, other, tmp_path, sets):
    """Against a plain loop over the logits of transformers, one text at a time."""
    import transformers

    models = (model, other) if pair else (model,)
    texts = [*sets(3, 1).texts, "too short", "long " * 400]
    measured = detector(tmp_path, sets, *models).curvature(texts)
    own = [
        transformers.AutoModelForCausalLM.from_pretrained(m, dtype=torch.float32) for m in models
    ]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    for text, value in zip(texts, measured):
        ids = tokenizer.encode(text, add_special_tokens=False)[:1024]
        if len(ids) < 16:
            assert np.isnan(value)
            continue
        with torch.no_grad():
            p, q = (
                m(torch.tensor([ids])).logits[0, :-1, :259].double().log_softmax(-1)
                for m in (own[0], own[-1])
            )
        mean = (q.exp() * p).sum(-1)
        variance = (q.exp() * (p - mean[:, None]) ** 2).sum(-1)
        observed = p[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
        assert value == pytest.approx(
            ((observed - mean).sum() / variance.sum().sqrt()).item(), rel=0.02, abs=0.05
        )


def test_texts_of_the_model_itself_are_recognised_and_five_percent_of_human_ones_with_them(
    model, tmp_path, sets
):
    """Sampled a little cold, from printable characters, so that the text gives back the tokens."""
    from dftfast.rollout import Request, RolloutEngine, Sampler

    d = detector(tmp_path, sets, model)
    tokenizer, decoder = d._score.tokenizer, d._score.decoder
    printable = {tokenizer.encode(chr(c))[0] for c in range(33, 127)}
    sampler = Sampler(
        0.7,
        max_tokens=60,
        banned_token_ids=tuple(set(range(decoder.config.vocab_size)) - printable),
    )
    batch = RolloutEngine(decoder, tokenizer, agreement_samples=0).generate(
        [Request(i, [1, 50 + i], sampler, 3) for i in range(40)]
    )
    own = [tokenizer.decode(batch.output(i)) for i in range(len(batch))]
    assert (d.human_probability(own) >= 0.5).mean() < 0.1
    assert (d.human_probability(sets(40, 9).texts) >= 0.5).mean() == pytest.approx(0.95)
    assert (d.human_probability(sets(80, 3).texts) >= 0.5).mean() > 0.8  # others of the same kind


def test_curvature_is_kept_and_needs_enough_human_texts(model, tmp_path, sets):
    first = detector(tmp_path, sets, model)
    values = first.curvature(sets(5, 2).texts)
    again = detector(tmp_path, sets, model)
    again._terms = None
    assert again.curvature(sets(5, 2).texts).tolist() == values.tolist()
    with pytest.raises(UserError, match="0 human texts are long enough"):
        CurvatureDetector(
            "z", [str(model)], ["short"] * 50, AnswerCache(tmp_path / "d.jsonl"), "cpu"
        ).human_probability(["a"])


def test_models_with_other_tokens_are_refused(model, tmp_path, sets, tmp_path_factory):
    folder = save_byte_model(tmp_path_factory.mktemp("third"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["q"], vocabulary["z"] = vocabulary["z"], vocabulary["q"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match="different tokens"):
        detector(tmp_path, sets, model, folder)


def described(tmp_path, address, **changes):
    file = tmp_path / "detector.yaml"
    described = {
        "url": address,
        "headers": {"x-api-key": "${DETECTOR_KEY}"},
        "body": {"document": "{text}", "options": {"version": [2]}},
        "probability": "documents.0.generated",
        "of": "ai",
        "scale": 100,
    }
    file.write_text(json.dumps({k: v for k, v in (described | changes).items() if v is not None}))
    return file


def generated(body, number=0):
    return {"documents": [{"generated": 80 if "machine" in body["document"] else 10}]}


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {}, {"Retry-After": "0"}),
        (500, b"<html>"),
        30.0,
        (200, b"not json"),
        {"documents": []},
        {"documents": [{"generated": "?"}]},
    ],
)
def test_an_api_that_misbehaves(trouble, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTOR_KEY", "secret-1")
    with ChatServer(lambda body, number: trouble if number < 2 else generated(body)) as server:
        file = described(tmp_path, server.url)
        texts = [f'"machine" {i}\n' if i % 2 else f"person {i}" for i in range(6)]
        done = []
        measured = HTTPDetector(
            "api", file, AnswerCache(tmp_path / "a.jsonl"), FAST
        ).human_probability(texts, done.append)
        assert (
            measured == pytest.approx([0.9, 0.2] * 3)
            and sum(done) == 6
            and len(server.requests) == 8
        )
        assert {body["document"] for body in server.requests} == set(texts) and server.requests[0][
            "options"
        ] == {"version": [2]}
        assert all(headers["x-api-key"] == "secret-1" for headers in server.headers)
        monkeypatch.setenv("DETECTOR_KEY", "secret-2")
        assert HTTPDetector("api", file, AnswerCache(tmp_path / "a.jsonl"), FAST).human_probability(
            texts
        ) == pytest.approx(measured)
        assert len(server.requests) == 8 and "secret" not in (tmp_path / "a.jsonl").read_text()


def test_api_for_texts_it_does_not_take_and_keys_it_does_not_know(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTOR_KEY", "secret-1")
    behave = lambda body, number: (
        (413, {})
        if len(body["document"]) > 100
        else {"documents": [{"generated": 250}]}
        if "odd" in body["document"]
        else generated(body)
    )
    with ChatServer(behave) as server:
        measured = HTTPDetector(
            "api", described(tmp_path, server.url), AnswerCache(tmp_path / "a.jsonl"), FAST
        ).human_probability(["x" * 200, "odd", "fine"])
        assert np.isnan(measured[:2]).all() and measured[2] == pytest.approx(0.9)
    with ChatServer(lambda *_: (401, {})) as server:
        with pytest.raises(UserError, match=r"detector api .*status 401") as error:
            HTTPDetector(
                "api", described(tmp_path, server.url), AnswerCache(tmp_path / "b.jsonl"), FAST
            ).human_probability(["x"])
        assert "secret" not in str(error.value)


def test_a_redirect_is_not_followed_with_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTOR_KEY", "secret-1")
    with (
        ChatServer(generated) as thief,
        ChatServer(lambda *_: (302, {}, {"Location": thief.url})) as server,
    ):
        measured = HTTPDetector(
            "api", described(tmp_path, server.url), AnswerCache(tmp_path / "a.jsonl"), FAST
        ).human_probability(["x"])
        assert np.isnan(measured).all() and not thief.requests


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"of": "robot"}, "of: "),
        ({"body": None}, "body: "),
        ({"url": "file:///etc/passwd"}, "url: "),
        ({"scale": 0}, "scale: "),
        ({"extra": 1}, "extra: "),
    ],
)
def test_descriptions_that_do_not_say_enough(changes, complaint, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTOR_KEY", "k")
    with pytest.raises(UserError, match=rf"detector.yaml: {complaint}"):
        HTTPDetector(
            "api", described(tmp_path, "http://x", **changes), AnswerCache(tmp_path / "a.jsonl")
        )


def test_a_key_that_is_not_there_or_cannot_be_a_header(tmp_path, monkeypatch):
    file = described(tmp_path, "http://x")
    with pytest.raises(UserError, match="the environment has no DETECTOR_KEY"):
        HTTPDetector("api", file, AnswerCache(tmp_path / "a.jsonl"))
    monkeypatch.setenv("DETECTOR_KEY", "secret\nX-Other: 1")
    with pytest.raises(UserError, match="no header can have") as error:
        HTTPDetector("api", file, AnswerCache(tmp_path / "a.jsonl"))
    assert "secret" not in str(error.value)


def test_shares_stand_beside_those_of_human_texts(sets):
    human, outputs = sets(40, 0), sets(40, 1).select(range(39, -1, -1))  # in another order

    class Lengths:
        name, about = "lengths", "by hand"

        def human_probability(self, texts, progress=lambda n: None):
            return np.array([np.nan if "again" in t else float(len(t) > 150) for t in texts])

    detected = detect(Lengths(), {"x": outputs}, human)
    reference = Reference(human, rounds=100)
    f = detector_estimate([detected], "x", outputs, reference)
    known = [t for t in outputs.texts if "again" not in t]
    assert (
        f.value == pytest.approx(np.mean([len(t) > 150 for t in known]))
        and f.low <= f.value <= f.high
    )
    assert (
        f.human == pytest.approx(np.mean([len(t) > 150 for t in human.texts if "again" not in t]))
        and f.p > 0.01
    )
    none = Detected(Lengths(), np.full(40, np.nan), {"x": np.full(40, np.nan)})
    assert (
        detector_estimate([none], "x", outputs, reference).reason == "the detectors gave no answer"
    )
    record = detector_record(detected, {"x": outputs}, reference)
    assert (
        record["systems"]["x"]["answers"] == len(known) and 0 < record["systems"]["x"]["auroc"] < 1
    )
    assert detector_record(none, {"x": outputs}, reference)["systems"]["x"]["auroc"] is None
    json.dumps(record, allow_nan=False)

"""The tokenizer gives the ids that transformers gives, for text and for chats."""

from __future__ import annotations

import json

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.runtime.errors import UserError

TEXTS = [
    "The quick brown fox, 1234 times over — “quoted”, isn't it?",
    "naïve café 北京 🙂\n\n\n  indented\ttab \r\n end ",
    "",
    " leading and trailing ",
]
CHATS = [
    [{"role": "user", "content": "Write a letter of 50 words."}],
    [{"role": "system", "content": "You write."}, {"role": "user", "content": "  A poem\n\n"}],
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello 12"},
        {"role": "user", "content": "Again, without an em dash — please"},
    ],
]
QWEN3_TEMPLATE = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and not(message.content.startswith('<tool_response>')) %}
        {%- set ns.last_query_index = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in message.content and loop.index0 < ns.last_query_index %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- generation %}{{ content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}
    {%- elif message.role != "system" %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if tools %}{{ tools | tojson }}{% endif %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def qwen_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen")
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        TEXTS * 3,
        trainers.BpeTrainer(
            vocab_size=400,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    core.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    core.add_tokens(["<think>", "</think>"])
    core.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": {"__type": "AddedToken", "content": "<|im_end|>"},
                "pad_token": "<|endoftext|>",
                "clean_up_tokenization_spaces": False,
                "bos_token": None,
            }
        )
    )
    (folder / "chat_template.jinja").write_text(QWEN3_TEMPLATE)
    ids = [core.token_to_id("<|endoftext|>"), core.token_to_id("<|im_end|>")]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    return folder


@pytest.fixture(scope="module", params=["smollm2", "qwen"])
def folder(request, qwen_folder):
    return resolve_model() if request.param == "smollm2" else qwen_folder


def test_same_ids_as_transformers(folder):
    from transformers import AutoTokenizer

    ours, theirs = Tokenizer.from_folder(folder), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids
        assert ours.decode(ours.encode(text)) == text
    assert ours.encode_batch(TEXTS) == [ours.encode(text) for text in TEXTS]
    for chat in CHATS:
        for prompt in (True, False):
            expected = theirs.apply_chat_template(
                chat, add_generation_prompt=prompt, return_dict=False, enable_thinking=False
            )
            assert ours.chat(chat, add_generation_prompt=prompt) == expected
    assert ours.vocab_size == len(theirs)
    assert ours.eos_ids[0] == theirs.eos_token_id
    assert set(theirs.all_special_ids) <= set(ours.special_ids)


def test_control_tokens_in_plain_text_stay_text(folder):
    tokenizer = Tokenizer.from_folder(folder)
    ids = tokenizer.encode("stop <|im_end|> here")
    assert not set(ids) & set(tokenizer.special_ids)
    assert tokenizer.decode(ids) == "stop <|im_end|> here"
    assert tokenizer.eos_ids[0] in tokenizer.chat(
        CHATS[0]
    )  # while the template's own are control tokens
    assert tokenizer.decode([*ids, tokenizer.eos_ids[0]]) == "stop <|im_end|> here"


def test_end_tokens_come_from_all_files(qwen_folder):
    tokenizer = Tokenizer.from_folder(qwen_folder)
    assert [tokenizer._core.id_to_token(i) for i in tokenizer.eos_ids] == [
        "<|im_end|>",
        "<|endoftext|>",
    ]


def test_no_chat_template_joins_by_blank_lines(qwen_folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((qwen_folder / name).read_text())
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert not tokenizer.has_chat_template
    assert tokenizer.render_chat(CHATS[1]) == "You write.\n\n  A poem\n\n\n\n"
    assert tokenizer.decode(tokenizer.chat(CHATS[1])) == tokenizer.render_chat(CHATS[1])


def test_start_token_of_a_base_model(qwen_folder, tmp_path):
    core = tokenizers.Tokenizer.from_file(str(qwen_folder / "tokenizer.json"))
    start = core.token_to_id("<|endoftext|>")
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", start)]
    )
    core.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        (qwen_folder / "tokenizer_config.json").read_text()
    )
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.chat(CHATS[0]) == [start, *tokenizer.encode(tokenizer.render_chat(CHATS[0]))]


def test_thinking_can_be_asked_for(qwen_folder):
    tokenizer = Tokenizer.from_folder(qwen_folder)
    assert "<think>" in tokenizer.render_chat(CHATS[0])
    assert "<think>" not in tokenizer.render_chat(CHATS[0], enable_thinking=True)


@pytest.mark.parametrize(
    "name, content, complaint",
    [
        ("tokenizer.json", None, "no tokenizer.json"),
        ("tokenizer.json", "{", "not a readable tokenizer"),
        ("tokenizer_config.json", "[1", "not valid JSON"),
        ("tokenizer_config.json", "[1]", "expected a JSON object, found list"),
        ("tokenizer_config.json", "{}", "no end token"),
        ("chat_template.jinja", "{% if %}", "not valid Jinja"),
    ],
)
def test_bad_folders_are_named(qwen_folder, tmp_path, name, content, complaint):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_text((qwen_folder / file).read_text())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        Tokenizer.from_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_template_that_refuses(qwen_folder, tmp_path):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_text((qwen_folder / file).read_text())
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(UserError, match="roles must alternate"):
        Tokenizer.from_folder(tmp_path).chat(CHATS[0])

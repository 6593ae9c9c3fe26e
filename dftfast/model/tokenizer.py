"""Tokenizer of a Hugging Face-format folder, on the `tokenizers` library alone."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path

import tokenizers

from dftfast.model.chat_template import compile_template, on_day, render, without_thinking
from dftfast.model.config import read_json
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)
_SPECIAL_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


class Tokenizer:
    """Text <-> token ids, with the chat template of the model.

    Attributes:
        eos_ids: ids that end an answer; the first is the one a training text is closed with.
        special_ids: ids of every control token, sorted.
        special_tokens: the named ones, such as `{"eos_token": "<|im_end|>"}`.
        vocab_size: number of ids the tokenizer knows (a model's embedding may be padded beyond it).
        has_chat_template: False for a plain base model, whose chats are joined by blank lines.
        chat_template: its source as it is rendered: without thinking, and on the day that is asked
            for. None without one.
    """

    def __init__(
        self,
        core: tokenizers.Tokenizer,
        special_tokens: dict[str, str],
        chat_template: str | None,
        eos_ids: tuple[int, ...],
        where: str = "tokenizer",
    ):
        core.no_truncation()
        core.no_padding()
        self._core = core
        self.chat_template = chat_template or None
        if chat_template:
            self.chat_template, opened = without_thinking(chat_template, where)
            if opened:
                log.warning(
                    "%s: the chat template opens <think> in front of every answer; it is closed at "
                    "once, in training and in what is exported",
                    where,
                )
        self._template = compile_template(self.chat_template, where) if self.chat_template else None
        self.special_tokens = special_tokens
        self.eos_ids = eos_ids
        self.special_ids = tuple(
            sorted(i for i, token in core.get_added_tokens_decoder().items() if token.special)
        )
        self.vocab_size = core.get_vocab_size(with_added_tokens=True)
        self.has_chat_template = self._template is not None

    @classmethod
    def from_folder(cls, folder: str | Path, day: datetime.date | None = None) -> Tokenizer:
        """Read the tokenizer's files, the chat template and the generation config's end tokens.

        Args:
            day: the date in the prompts of a template that writes one; None is today's.
        """
        folder = Path(folder)
        core = _core(folder)
        config = _read_json(folder / "tokenizer_config.json")
        special = _special_tokens({**_read_json(folder / "special_tokens_map.json"), **config})
        eos_ids = _eos_ids(core, special, folder)
        if not eos_ids:
            raise UserError(
                f"{folder}: no end token: neither tokenizer_config.json (eos_token) nor "
                "generation_config.json or config.json (eos_token_id) names one"
            )
        template = _chat_template(folder, config)
        if template and day:
            template = on_day(template, day)
        return cls(core, special, template, eos_ids, where=str(folder))

    def check_fits(self, rows: int) -> None:
        """Raise UserError unless every id has a row in the model's embedding of this many."""
        last = max(self._core.get_vocab(with_added_tokens=True).values(), default=-1)
        if last >= rows:
            token = self._core.id_to_token(last)
            raise UserError(
                f"the tokenizer has {last + 1} ids (the last is {token!r}), the model's embedding "
                f"{rows} rows (vocab_size of config.json): tokens were added without resizing the "
                "embedding; take the tokenizer that the weights came with"
            )

    def encode(self, text: str) -> list[int]:
        """Ids of plain text.

        A control token spelled out in it ("<|im_end|>") is encoded as ordinary text.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """`encode` of many texts at once, on all cores."""
        return self._encode(texts, plain=True)

    def decode(self, ids: list[int]) -> str:
        """Text of the ids; control tokens are left out."""
        return self._core.decode([int(i) for i in ids], skip_special_tokens=True)

    def render_chat(
        self, messages: list[dict], add_generation_prompt: bool = True, **variables
    ) -> str:
        """The text the chat template makes of the messages.

        Reasoning models are asked not to think first (`enable_thinking=False`): their answer is the
        text itself. Other template variables are passed on.
        """
        if self._template is None:
            contents = [message["content"] for message in messages]
            return "\n\n".join([*contents, ""] if add_generation_prompt else contents)
        variables = {
            "enable_thinking": False,
            "tools": None,
            "documents": None,
            **self.special_tokens,
            **variables,
        }
        return render(
            self._template,
            messages=messages,
            add_generation_prompt=add_generation_prompt,
            **variables,
        )

    def chat(
        self, messages: list[dict], add_generation_prompt: bool = True, **variables
    ) -> list[int]:
        """Ids of a chat: messages are `{"role": ..., "content": ...}`. See `render_chat`."""
        text = self.render_chat(messages, add_generation_prompt, **variables)
        if self._template is None:  # nothing but the tokenizer puts a start token in front
            return self._encode([text], plain=True, add_special_tokens=True)[0]
        return self._encode([text], plain=False)[0]

    def _encode(
        self, texts: list[str], plain: bool, add_special_tokens: bool = False
    ) -> list[list[int]]:
        self._core.encode_special_tokens = plain
        return [
            encoding.ids
            for encoding in self._core.encode_batch_fast(
                texts, add_special_tokens=add_special_tokens
            )
        ]


def _core(folder: Path) -> tokenizers.Tokenizer:
    file = folder / "tokenizer.json"
    if not file.is_file():
        if (folder / "tokenizer.model").is_file():
            return _converted(folder)
        raise UserError(
            f"{folder}: no tokenizer.json in it, nor a tokenizer.model of sentencepiece; save the "
            "model's fast tokenizer there, with transformers: "
            "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"
        )
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise UserError(f"{file}: not a readable tokenizer: {error}") from error


def _converted(folder: Path) -> tokenizers.Tokenizer:
    """The tokenizer.json that transformers makes of a sentencepiece tokenizer.model (Llama 2)."""
    try:
        import sentencepiece  # noqa: F401
    except ImportError:
        raise UserError(
            f"{folder}: its tokenizer is sentencepiece's (tokenizer.model, no tokenizer.json): "
            "pip install 'dftfast[sentencepiece]'"
        ) from None
    from transformers import AutoTokenizer

    try:
        fast = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return tokenizers.Tokenizer.from_str(fast.backend_tokenizer.to_str())
    except Exception as error:  # of transformers, sentencepiece or protobuf
        raise UserError(
            f"{folder / 'tokenizer.model'}: cannot be converted ({type(error).__name__}: {error}); "
            "save the model's fast tokenizer beside it (tokenizer.json)"
        ) from error


def _read_json(file: Path) -> dict:
    return read_json(file) if file.is_file() else {}


def _special_tokens(config: dict) -> dict[str, str]:
    """Named special tokens; a token is written as a string or as an object with its `content`."""
    special = {name: config.get(name) for name in _SPECIAL_NAMES}
    special = {
        name: token.get("content") if isinstance(token, dict) else token
        for name, token in special.items()
    }
    special = {name: token for name, token in special.items() if isinstance(token, str)}
    for name, token in special.items():
        if any("\ud800" <= character <= "\udfff" for character in token):
            raise UserError(f"tokenizer_config.json: {name}: half of a surrogate pair, not text")
    return special


def _chat_template(folder: Path, config: dict) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read: {error}") from error
    template = config.get("chat_template")
    try:
        if isinstance(template, list):  # several named templates
            named = {entry["name"]: entry["template"] for entry in template}
            if "default" not in named:
                raise UserError(
                    f"{folder}: of the chat templates {', '.join(map(str, named))} none is called "
                    "default; put the one to use into chat_template.jinja"
                )
            template = named["default"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: chat_template: a named template lacks its name or its text ({error!r})"
        ) from None
    if template is not None and not isinstance(template, str):
        raise UserError(f"{folder}: chat_template: expected text, found {type(template).__name__}")
    return template


def _eos_ids(core: tokenizers.Tokenizer, special: dict[str, str], folder: Path) -> tuple[int, ...]:
    """The tokenizer's own end token first, then the generation (or else the model) config's."""
    ids = []
    if "eos_token" in special:
        ids = [core.token_to_id(special["eos_token"])]
        if ids == [None]:
            raise UserError(
                f"{folder}: eos_token {special['eos_token']!r} of tokenizer_config.json is not a "
                "token of tokenizer.json; one of the two is of another model"
            )
    listed = _read_json(folder / "generation_config.json").get("eos_token_id")
    if listed is None:
        listed = _read_json(folder / "config.json").get("eos_token_id")
    ids += listed if isinstance(listed, list) else [listed]
    ids = [i for i in ids if i is not None]
    if not all(type(i) is int and 0 <= i < 1 << 31 for i in ids):
        raise UserError(
            f"{folder}: eos_token_id: expected a token id or a list of them, found {ids}"
        )
    return tuple(dict.fromkeys(ids))

"""Layers of configuration, mistakes named with key, value, file and line, and its page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from dftfast.config import Config, load_config, parse_command_line
from dftfast.config.help import help_all, help_text, markdown
from dftfast.config.layers import presets
from dftfast.config.schema import keys
from dftfast.runtime.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_later_layers_win(write):
    path = write("sft:\n  rank: 64\n  epochs: 3\ndft: {prompts: 9}\nsweep:\n")
    config = parse_command_line(
        ["--preset=smoke", "--config", path, "--sft.epochs=5", "--dft.rank", "4"]
    )
    assert (config.sft.max_texts, config.sft.rank, config.sft.epochs) == (160, 64, [5])
    assert (config.dft.prompts, config.dft.rank) == (9, 4)
    assert config.dft.min_p == Config().dft.min_p
    assert parse_command_line([]) == Config() == load_config("default")


def test_values_are_read_by_type(write):
    config = parse_command_line(
        [
            "--data=a.jsonl,b.jsonl",
            "--sweep.temperatures=[0.5, 1]",
            "--run.tracker=none",
            "--sft.learning_rates=1e-4",
            "--data.limit=none",
            "--model=123",
            "--run.seed=7",
            "--data.held-out=c.jsonl",
        ]
    )
    assert config.data.train == ["a.jsonl", "b.jsonl"] and config.data.held_out == ["c.jsonl"]
    assert config.sweep.temperatures == [0.5, 1.0] and config.run.tracker == "none"
    assert (
        config.sft.learning_rates == [1e-4]
        and config.data.limit is None
        and config.model.name == "123"
    )
    assert load_config(files=[write("sft: {learning_rates: [1e-4]}")]).sft.learning_rates == [1e-4]
    assert parse_command_line(["--data=x", "--data=none"]).data.train == []


def test_resolved_tree_reads_back(write):
    config = parse_command_line(
        ["--preset=smoke", "--data=a.jsonl", "--run.seed=3", "--model.name=x: y # z"]
    )
    assert load_config(files=[write(config.to_yaml())]) == config
    with pytest.raises(ValidationError):
        config.run.seed = 4


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (
            ["--sft.learning_rat=3"],
            "command line: unknown key sft.learning_rat; the nearest is sft.learning_rates",
        ),
        (["--epochs=3"], "unknown key epochs; the nearest is sft.epochs"),
        (["--dft.phasse=1"], "unknown key dft.phasse; the nearest is dft.phases"),
        (["--sft.rank=many"], "command line: sft.rank: should be a valid integer.*found 'many'"),
        (["--sft.rank=0"], "sft.rank: should be greater than or equal to 1, found '0'"),
        (["--dft.min_p=nan"], "dft.min_p: .*found"),
        (
            ["--sweep.temperatures=0.5,hot"],
            "sweep.temperatures: should be a valid number.*found 'hot'",
        ),
        (["--sweep.temperatures=none"], "sweep.temperatures: list should have at least 1 item"),
        (["--sft.method=magic"], "sft.method: should be 'lora' or 'full', found 'magic'"),
        (["--sft"], "--sft needs a value"),
        (["--sft.rank", "--run.seed=1"], "--sft.rank needs a value"),
        (["train.jsonl"], "'train.jsonl' is not an option"),
        (["--preset=huge"], "no preset 'huge'; there are default, "),
        (["--config=absent.yaml"], "absent.yaml cannot be read"),
    ],
)
def test_mistakes_on_the_command_line(arguments, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        parse_command_line(arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, line, complaint",
    [
        ("sft:\n  rank: 8\n  rnak: 8\n", 3, "unknown key sft.rnak; the nearest is sft.rank"),
        (
            "run: {}\n\nevalation:\n  prompts: 3\n",
            3,
            "unknown key evalation; the nearest is evaluation",
        ),
        ("sft:\n  rank: eight\n", 2, "sft.rank: should be a valid integer.*found 'eight'"),
        (
            "sweep:\n  temperatures:\n    - 0.5\n    - -1\n",
            2,
            "sweep.temperatures: should be greater.*found -1",
        ),
        ("sft:\n  rank: [1]\n", 2, r"sft.rank: should be a valid integer, found \[1\]"),
        ("sft:\n  rank: 8\nsft:\n  rank: 9\n", 4, "sft.rank is given twice"),
        ("sft: 3\n", 1, "expected `key: value` lines under sft"),
        ("- 3\n", 1, "expected `key: value` lines"),
        ("sft:\n  rank: [8\n", 3, "not valid YAML"),
        (
            "sft:\n  rank: !!python/object:os.system 8\n",
            2,
            "not valid YAML: could not determine a constructor",
        ),
    ],
)
def test_mistakes_in_a_file(write, text, line, complaint):
    path = write(text)
    with pytest.raises(UserError, match=complaint) as caught:
        load_config(files=[path])
    assert str(caught.value).startswith(f"{path}, line {line}: ") and "\n" not in str(caught.value)


def test_every_preset_is_valid():
    cards = ["qwen3-4b-24gb", "qwen3-4b-48gb"]
    assert presets() == ["default", "qwen3-14b", "qwen3-4b", *cards, "qwen3-8b", "smoke"]
    for name in presets():
        assert load_config(name).run.folder == (f"runs/{name}")


def test_help_is_a_screen_of_what_people_set():
    text = help_text("python -m dftfast.train", "About it.")
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 80
    assert "--data=" in text and "--help-all" in text


def test_help_all_explains_every_key():
    text = help_all("python -m dftfast.train")
    for key, field in keys().items():
        assert f"--{key}=" in text and field.description
        assert field.description.split()[0] in text


@pytest.mark.parametrize("option", ["--help", "--help-all", "--version"])
def test_what_prints_and_ends(option, capsys):
    with pytest.raises(SystemExit) as ended:
        parse_command_line(["--sft.rank=8", option])
    assert ended.value.code == 0 and "dftfast" in capsys.readouterr().out


def test_resume_of_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"--resume: .* is not the folder of a run"):
        parse_command_line(["--resume", str(tmp_path)])


def test_documentation_is_in_step():
    page = Path(__file__).parent.parent / "docs" / "configuration.md"
    assert page.read_text() == markdown(), "run: python -m dftfast.config > docs/configuration.md"


def test_configuration_imports_nothing_heavy():
    code = (
        "import sys, dftfast.config, dftfast.runtime.command, dftfast.generate;"
        "from dftfast.config.help import help_text; help_text('x');"
        "heavy = ('torch', 'transformers', 'numpy', 'sklearn');"
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"

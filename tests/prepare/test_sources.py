"""Files of every kind become documents; what is broken is skipped by name."""

from __future__ import annotations

import gzip
import json
import mailbox
import zipfile
from email.message import EmailMessage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from dftfast.prepare import Settings
from dftfast.prepare.sources import find_files, read_pieces
from dftfast.runtime.errors import UserError
from dftfast.runtime.words import words

docx = pytest.importorskip("docx")
pyarrow = pytest.importorskip("pyarrow")

STORY = "The harbour lay still.\nNobody spoke of the storm; the boats had come home.\n"


def read(*sources, **settings):
    """The pieces, and {name of the file: why it was skipped}."""
    skipped = {}

    def skip(origin, reason):
        skipped[origin.partition(",")[0].rpartition("/")[2]] = reason

    files = find_files([str(source) for source in sources])
    return list(read_pieces(files, Settings(**settings), skip)), skipped


def message(subject="Boats", body=STORY):
    mail = EmailMessage()
    mail["Subject"] = subject
    mail["From"] = "ann@example.org"
    mail.set_content(body)
    return mail


def word_file(path, *paragraphs, title=""):
    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.core_properties.title = title
    document.save(str(path))


@pytest.fixture
def folder(tmp_path):
    """A file of every kind with the story in it."""
    import pyarrow.parquet

    lines = STORY.splitlines()
    (tmp_path / "a.txt").write_text(STORY)
    (tmp_path / "b.md").write_text(f'---\ntitle: "Boats"\ntags: [sea]\n---\n{STORY}')
    page = "<html><head><title>Boats</title></head><body><article>"
    page += "".join(f"<p>{line}</p>" for line in lines) + "</article></body></html>"
    (tmp_path / "c.html").write_text(page)
    (tmp_path / "d.eml").write_bytes(bytes(message()))
    box = mailbox.mbox(str(tmp_path / "e.mbox"))
    box.add(message())
    box.add(message("More boats", STORY.upper()))
    box.close()
    word_file(tmp_path / "f.docx", *lines, title="Boats")
    quoted = STORY.replace('"', '""')
    (tmp_path / "g.csv").write_text(f'id;title;text;genre\n7;Boats;"{quoted}";story\n')
    row = {"id": "r1", "title": "Boats", "text": STORY, "use_case": "tale", "outline": ["storm"]}
    (tmp_path / "h.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "i.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    table = pyarrow.table({"text": [STORY], "title": ["Boats"]})
    pyarrow.parquet.write_table(table, tmp_path / "j.parquet")
    return tmp_path


def test_every_kind_of_file_gives_the_story(folder):
    pieces, skipped = read(folder)
    assert not skipped
    texts = {}
    for piece in pieces:
        texts.setdefault(piece.origin.partition(",")[0].rpartition(".")[2], []).append(piece)
    assert list(texts) == [
        "txt",
        "md",
        "html",
        "eml",
        "mbox",
        "docx",
        "csv",
        "jsonl",
        "gz",
        "parquet",
    ]
    for kind, found in texts.items():
        assert found[0].text == STORY.strip("\n"), kind
        assert found[0].title == ("" if kind == "txt" else "Boats"), kind
    assert texts["mbox"][1].title == "More boats"
    assert texts["csv"][0].given == {"genre": "story", "source_id": "7"}
    assert texts["jsonl"][0].given == {"use_case": "tale", "outline": ["storm"], "source_id": "r1"}
    keys = [piece.key for piece in pieces]
    assert keys == sorted(set(keys))


def test_a_source_is_a_file_a_folder_or_a_pattern(folder):
    assert len(read(folder / "a.txt")[0]) == 1
    assert len(read(f"{folder}/[ab].*")[0]) == 2
    assert len(read(folder / "a.txt", folder)[0]) == len(read(folder)[0])  # not twice
    with pytest.raises(UserError, match=r"nothing-here.*no such file"):
        read(folder / "nothing-here")


def test_files_that_are_hidden_are_left_alone(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text(STORY)
    (tmp_path / "a.txt").write_text(STORY)
    assert len(read(tmp_path)[0]) == 1


def test_a_hub_data_set_is_its_files(folder, monkeypatch):
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        if name == "nobody/nothing":
            raise OSError("401 Client Error: not found\nmore lines")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    pieces, _ = read("hub:owner/name@v1")
    assert len(pieces) == 11 and pieces[0].source == "hub:owner/name@v1"
    assert asked["name"] == "owner/name" and asked["revision"] == "v1"
    assert asked["repo_type"] == "dataset" and "*.parquet" in asked["allow_patterns"]
    with pytest.raises(UserError, match=r"hub:nobody/nothing: .* \(401 Client Error: not found\)"):
        read("hub:nobody/nothing")


def test_a_file_of_many_documents_is_split_at_a_pattern(tmp_path):
    (tmp_path / "a.txt").write_text("== One\nfirst\n\n== Two\nsecond\n== Three\nthird")
    pieces, _ = read(tmp_path, split_at="^== ")
    assert [p.text for p in pieces] == ["== One\nfirst", "== Two\nsecond", "== Three\nthird"]
    assert [p.origin.rpartition(", ")[2] for p in pieces][1:] == ["line 4", "line 6"]


@pytest.mark.parametrize("joint", ["\n\n", "\n", " "])
def test_long_documents_are_split_between_sentences(tmp_path, joint):
    sentences = [f"Mr. Bell saw {'the grey sea ' * 6}on day {i}." for i in range(40)]
    (tmp_path / "a.txt").write_text(joint.join(sentences))
    pieces, skipped = read(tmp_path, max_words=100)
    assert not skipped and len(pieces) > 5
    for piece in pieces:
        assert 40 <= len(words(piece.text)) <= 100
        assert piece.text.startswith("Mr. Bell") and piece.text.rstrip().endswith(".")
    whole = joint.join(piece.text.strip() for piece in pieces)
    assert whole.split() == joint.join(sentences).split()
    assert ", part 1 of " in pieces[0].origin


def test_long_documents_are_split_at_headings_first(tmp_path):
    chapters = [
        f"# Chapter {i}\n\n" + "\n\n".join(["Rain fell on the town. " * 6] * 3) for i in range(4)
    ]
    (tmp_path / "a.md").write_text("\n".join(chapters))
    pieces, _ = read(tmp_path, max_words=200)
    assert all(piece.text.startswith("# Chapter") for piece in pieces)


def test_a_sentence_without_end_is_skipped(tmp_path):
    (tmp_path / "a.txt").write_text("word " * 500)
    assert read(tmp_path, max_words=100) == ([], {"a.txt": "a sentence of more than 100 words"})


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_text_in_any_encoding(tmp_path, encoding):
    story = STORY + "Ein Gespräch über die Fähre: „schön“, sagte er, für mich größer als früher.\n"
    (tmp_path / "a.txt").write_bytes(story.encode(encoding))
    pieces, skipped = read(tmp_path)
    assert not skipped and pieces[0].text == story.strip("\n")


def test_line_ends_of_every_system(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\nfour" + b"!" * 99 + b"\x07 \t\r\n")
    assert read(tmp_path)[0][0].text == "one\ntwo\nthree\nfour" + "!" * 99


def hostile(folder):
    """Files that are not what they are called, or are made to do harm -> why they are skipped."""
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 200)
    (folder / "noise.txt").write_bytes(bytes((i * i * 7919 >> 5) % 251 + 1 for i in range(9000)))
    (folder / "line.txt").write_text("a" * 50_000_000)
    (folder / "blank.txt").write_text("\n \n")
    for name in ("empty.txt", "empty.csv", "empty.jsonl", "empty.mbox"):
        (folder / name).write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "broken.docx").write_bytes(b"PK\x03\x04 not an archive")
    with zipfile.ZipFile(folder / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"<a>" + b" " * 100_000_000)
    (folder / "deep.html").write_text("<div>" * 60_000)
    (folder / "empty.eml").write_bytes(b"\xff\xfe\x00")
    (folder / "bomb.jsonl.gz").write_bytes(gzip.compress(b" " * 50_000_000))
    (folder / "rows.jsonl").write_text('["no", "row"]\n{"title": "no text"}\n')
    (folder / "broken.jsonl").write_text('{"text": \n{"text": "a \n')
    (folder / "broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    (folder / "wide.csv").write_text("name;value\n1;2\n")
    return {
        "binary.txt": "binary, not text",
        "noise.txt": "binary",
        "line.txt": "a line of more than 4 MiB",
        "blank.txt": "empty",
        "empty.txt": "empty",
        "empty.csv": "empty",
        "empty.jsonl": "empty",
        "empty.mbox": "empty",
        "picture.png": "unknown kind of file",
        "broken.docx": "not a readable .docx",
        "bomb.docx": "unpacks to more than 64 MiB",
        "deep.html": "HTML",
        "empty.eml": "",
        "bomb.jsonl.gz": "longer than 4 MiB",
        "rows.jsonl": "no text in the field 'text'",
        "broken.jsonl": "not valid JSON: ",
        "broken.parquet": "not a readable parquet file",
        "wide.csv": "no text in the field 'text'; --text-field names another",
    }


def test_hostile_files_are_skipped_by_name(tmp_path):
    expected = hostile(tmp_path)
    (tmp_path / "z.txt").write_text(STORY)
    pieces, skipped = read(tmp_path)
    assert [piece.text for piece in pieces] == [STORY.strip("\n")]
    assert skipped.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in skipped[name], name


def test_the_frame_of_a_page_is_no_text(tmp_path):
    body = "".join(
        f"<p>On day {i} the boats went out, and all of them came home.</p>" for i in range(20)
    )
    page = f"<body><nav><a href='/'>Home</a></nav><article>{body}</article><footer>Imprint</footer>"
    (tmp_path / "a.html").write_text(page)
    text = read(tmp_path)[0][0].text
    assert text.count("came home") == 20 and "Home" not in text and "Imprint" not in text


def test_broken_html_still_gives_its_text(tmp_path):
    (tmp_path / "a.html").write_text(f"<html><body><p>{STORY}<div><<b>The end is near</p></table")
    assert "Nobody spoke of the storm" in read(tmp_path)[0][0].text


def test_a_mail_gives_its_own_words_alone(tmp_path):
    inner = MIMEMultipart()
    inner.attach(MIMEText("Forwarded words."))
    inner["Subject"] = "Inner"
    outer = MIMEMultipart()
    outer["Subject"] = "=?utf-8?b?R3LDvMOfZQ==?="
    alternative = MIMEMultipart("alternative")
    alternative.attach(MIMEText(STORY + "Grüße", "plain", "utf-8"))
    alternative.attach(MIMEText("<p>HTML words</p>", "html"))
    outer.attach(alternative)
    attached = MIMEText("attached words")
    attached.add_header("Content-Disposition", "attachment", filename="a.txt")
    outer.attach(attached)
    level = outer
    for _ in range(20):  # attachments in attachments
        level.attach(nested := MIMEMultipart())
        level = nested
    level.attach(MIMEMessage(inner))
    (tmp_path / "a.eml").write_bytes(bytes(outer))
    [piece], skipped = read(tmp_path)
    assert not skipped
    assert (piece.title, piece.text) == ("Grüße", STORY + "Grüße")


def test_a_mail_in_an_unknown_charset(tmp_path):
    head = b"Subject: x\nContent-Type: text/plain; charset=klingon\n\n"
    (tmp_path / "a.eml").write_bytes(head + "Schöne Grüße aus Köln, für alle.".encode())
    assert read(tmp_path)[0][0].text == "Schöne Grüße aus Köln, für alle."


def test_a_row_with_half_a_surrogate_pair(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one \\ud800 two", "title": "t\\udfff"}\n')
    [piece], _ = read(tmp_path)
    assert (piece.text, piece.title) == ("one ? two", "t?")

"""`python -m dftfast.write`: a page to write in, served on this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.endpoint import Endpoint
from dftfast.runtime.command import ArgumentParser, run
from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from dftfast.studio import Desk
    from dftfast.studio.writer import Writer

MAX_TOKENS = 2048
_SAMPLING = ("temperature", "top_k", "top_p", "min_p")


def main(arguments: Sequence[str]) -> None:
    options = make_parser().parse_args(arguments)
    check_installed()
    check_options(options)
    password = read_password(options)
    listening = listen(options.host, options.port)
    try:
        serve(make_desk(options, password), listening)
    finally:
        listening.close()


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dftfast write",
        description="Serve a page to write in: a brief, a draft by a model, and checks of the text "
        "as it is edited. Drafts are kept on this machine.",
    )
    add = parser.add_argument
    add("--model", help="model folder, a run's folder or hub id; none is SmolLM2-135M-Instruct")
    add("--adapter", action="append", default=[], help="PEFT folder of a LoRA; may be repeated")
    add(
        "--endpoint",
        metavar="NAME=URL,MODEL",
        help="ask a model behind an OpenAI-compatible API instead; its key is read from "
        "NAME_API_KEY",
    )
    add("--corpus", help="human texts that drafts are compared with and chosen by")
    add("--rules", type=Path, help="rules of the checks, as `dftfast check --fit` writes them")
    add(
        "--folder",
        type=Path,
        help="where drafts are kept; none is $XDG_DATA_HOME or ~/.local/share, dftfast/drafts",
    )
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name that the page is asked for under, such as a proxy's; may be repeated",
    )
    add("--port", type=int, default=8042, help="0 takes any that is free (default: %(default)s)")
    add(
        "--password-file",
        type=Path,
        help="its first line is asked for; needed where --host is not this machine alone",
    )
    add(
        "--swapped-words",
        type=int,
        default=3,
        metavar="N",
        help="words that are exchanged in copies of a draft that was neither read nor edited; "
        "0 is off (default: %(default)s)",
    )
    for name, kind in (("temperature", float), ("top-k", int), ("top-p", float), ("min-p", float)):
        add(f"--{name}", type=kind, help="none is that of the model's generation_config.json")
    add("--max-tokens", type=int, default=MAX_TOKENS, help="of a draft (default: %(default)s)")
    add("--device", help="cpu, cuda or cuda:N; none is the GPU where there is one")
    add("--dtype", choices=["bfloat16", "float32"], help="type of the weights")
    add("--cache-tokens", type=int, help="size of the cache; none is half of the free memory")
    return parser


def check_options(options: Namespace) -> None:
    """Refuse options that are out of their range or do not go together."""
    if options.swapped_words < 0:
        raise UserError(f"--swapped-words: {options.swapped_words} must be 0 or more")
    if not 0 <= options.port < 65536:
        raise UserError(f"--port: {options.port} is not between 0 and 65535")
    if options.cache_tokens is not None and options.cache_tokens < 1:
        raise UserError("--cache-tokens: must be at least 1")
    local = ("model", "adapter", "device", "dtype", "cache_tokens", "top_k", "min_p")
    for name in local if options.endpoint else ():
        if getattr(options, name):
            raise UserError(
                f"--{name.replace('_', '-')}: is for models on this machine; leave it out with "
                "--endpoint"
            )


def check_installed() -> None:
    """Before a model begins to be read, which a process that ends would wait for.

    Raises:
        UserError: a library of the page's server is missing.
    """
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise UserError(f"the page needs {' and '.join(missing)}: pip install 'dftfast[write]'")


def read_password(options: Namespace) -> str | None:
    """The first line of --password-file.

    Raises:
        UserError: it is missing, empty, or others could use the page without one.
    """
    if options.password_file is None:
        if not _is_loopback(options.host):
            raise UserError(
                f"--host: {options.host} lets other machines in; give --password-file as well"
            )
        return None
    try:
        lines = options.password_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--password-file: cannot be read: {error}") from None
    if not lines or len(lines[0]) < 8:
        raise UserError("--password-file: its first line needs 8 characters or more")
    return lines[0]


def listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"--port: {host}, port {port}: {error.strerror or error}; give another one"
        ) from None


def make_desk(options: Namespace, password: str | None = None) -> Desk:
    """Everything that the page's server holds; a model begins to be read."""
    from dftfast.data import load_corpus
    from dftfast.studio import Desk
    from dftfast.studio.draft_store import DraftStore
    from dftfast.studio.page_session import Sessions
    from dftfast.writing import default_rules, load_rules

    store = DraftStore(options.folder or data_folder() / "drafts")
    rules = load_rules(options.rules) if options.rules else default_rules()
    corpus = load_corpus([options.corpus]) if options.corpus else []
    return Desk(
        make_writer(options),
        store,
        Sessions(store.folder, password),
        rules,
        corpus=[document.text for document in corpus],
        swapped_words=options.swapped_words,
        names=(options.host, *options.allow_host),
    )


def make_writer(options: Namespace) -> Writer:
    from dftfast.pipeline.local_texts import LocalModel
    from dftfast.rollout import Sampler
    from dftfast.studio.endpoint_writer import EndpointWriter
    from dftfast.studio.local_writer import LocalWriter

    given = {name: getattr(options, name) for name in _SAMPLING}
    if options.endpoint:
        set_here = {name: value for name, value in given.items() if value is not None}
        sampler = Sampler(**set_here, max_tokens=options.max_tokens)
        return EndpointWriter(Endpoint.parse("--endpoint", options.endpoint), sampler)
    model = LocalModel(
        options.model,
        options.adapter,
        options.device,
        options.dtype,
        cache_tokens=options.cache_tokens,
    )
    return LocalWriter(model, given, options.max_tokens)


def data_folder() -> Path:
    """$XDG_DATA_HOME/dftfast, else ~/.local/share/dftfast."""
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "dftfast"


def serve(desk: Desk, listening: socket.socket) -> None:
    """Answer until a signal comes."""
    from dftfast.studio import make_app

    app = make_app(desk)
    import uvicorn

    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"drafts are kept in {desk.store.folder}")
    print(f"write at http://{shown}:{port}  (Ctrl-C stops)", flush=True)
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=30,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    run(main)

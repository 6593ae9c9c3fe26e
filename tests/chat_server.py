"""A real HTTP server that speaks the chat completions API as badly as it is told to."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(
    text: str, prompt_tokens: int = 100, completion_tokens: int = 1, reason: str = "stop"
) -> dict:
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


class ChatServer:
    """Calls `behave(request, number)` for every POST.

    `request` is its JSON, and `number` counts from 0. It returns a JSON value (status 200),
    (status, value), (status, value, headers), bytes to send as they are, or a number of seconds to
    hang.

    Attributes:
        requests: the JSON of every request.
        headers: those of every request.
        most: the most requests at one time.
    """

    def __init__(self, behave):
        self.behave, self.requests, self.headers, self.times = behave, [], [], []
        self.active = self.most = 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer._answer(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *failure) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            self.times.append(time.monotonic())
            self.active += 1
            self.most = max(self.most, self.active)
        try:
            told = self.behave(body, number)
            if isinstance(told, (int, float)):
                self._stop.wait(told)
                handler.close_connection = True
                return
            status, value, *headers = told if isinstance(told, tuple) else (200, told)
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            handler.send_response(status)
            for name, text in {
                "Content-Type": "application/json",
                "Content-Length": str(len(raw)),
                **(headers[0] if headers else {}),
            }.items():
                handler.send_header(name, text)
            handler.end_headers()
            handler.wfile.write(raw)
        except OSError:
            pass  # the client gave up
        finally:
            with self._lock:
                self.active -= 1

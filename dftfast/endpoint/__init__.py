"""Models behind an OpenAI-compatible API: limits, retries, a cap on spend, answers on disk."""

from dftfast.endpoint.cache import AnswerCache
from dftfast.endpoint.calls import Budget, Calls, Limits
from dftfast.endpoint.chat import Answer, ChatClient, ChatRequest
from dftfast.endpoint.options import add_endpoint_options, limits_of
from dftfast.endpoint.spec import Endpoint

__all__ = [
    "Answer",
    "AnswerCache",
    "Budget",
    "Calls",
    "ChatClient",
    "ChatRequest",
    "Endpoint",
    "Limits",
    "add_endpoint_options",
    "limits_of",
]

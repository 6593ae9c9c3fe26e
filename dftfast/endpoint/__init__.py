"""Models behind an OpenAI-compatible API: many requests with limits, retries, a cap on spend and answers kept on disk."""
from .cache import AnswerCache
from .calls import Budget, Calls, Limits
from .chat import Answer, ChatClient, ChatRequest
from .options import add_endpoint_options, limits_of
from .spec import Endpoint

__all__ = ["Answer", "AnswerCache", "Budget", "Calls", "ChatClient", "ChatRequest", "Endpoint", "Limits",
           "add_endpoint_options", "limits_of"]

"""Endpoints as an option names them."""

import pytest

from dftfast.endpoint import Endpoint
from dftfast.runtime.errors import UserError


@pytest.mark.parametrize(
    "text",
    [
        "gpt",
        "=http://x,m",
        "a b=http://x,m",
        "gpt=ftp://x,m",
        "gpt=http://x",
        "gpt=http://x,m,1",
        "gpt=http://x,m,1,-2",
        "gpt=http://x,m,1,nan",
        "gpt=http://user:pw@x,m",
        "gpt=http://x:port,m",
        "gpt=http:///v1,m",
        "gpt=http://x,,1,2",
    ],
)
def test_endpoints_that_cannot_be(text):
    with pytest.raises(UserError, match="--judge"):
        Endpoint.parse("--judge", text)


def test_endpoint_of_an_option():
    e = Endpoint.parse("--judge", "my-gpt.4=https://host:8000/v1/, some/model:free, 0.5, 2")
    assert (e.name, e.url, e.model, e.prices, e.host) == (
        "my-gpt.4",
        "https://host:8000/v1",
        "some/model:free",
        (0.5, 2.0),
        "host:8000",
    )
    assert e.key_variable == "MY_GPT_4_API_KEY" and e.cost(10**6, 10**6) == 2.5

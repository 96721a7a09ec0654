"""What is told at start of a MONGO_URI that cannot be used."""

from __future__ import annotations

import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.store.mongo.server import prepare
from tests.support.mongo import settings_for


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("mongodb://u:s3cret@127.0.0.1:1/?socketTimeoutMS=soon", "sockettimeoutms must be an integer or float"),
        ("mongodb://u:s3cret@127.0.0.1:1/?patience=5", "Unknown option"),
        ("mongodb://u:s3/cret@127.0.0.1:1/", "percent-encoded"),
        ("mongo://127.0.0.1:1/", "an address looks like mongodb://"),
    ],
)
def test_an_address_or_an_option_that_cannot_be_used_is_told_without_its_secrets(uri: str, told: str) -> None:
    with pytest.raises(CannotStart) as refused:
        prepare(settings_for(uri, "jobs"))

    assert told in refused.value.message
    assert "s3" not in refused.value.message
